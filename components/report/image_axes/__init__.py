"""The motion of a volume's planes along z, and along the axes of the pictures, where tissue alone moves."""
