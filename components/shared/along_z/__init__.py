"""Places of slices and planes along an axis, by how fast they lose their likeness to those around them."""
