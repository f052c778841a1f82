"""Places of the slices along z, by how fast they lose their likeness to the slices around them."""
