"""Write the sharded multiscale volumes from the aligned tiles, one block of 1024^3 voxels at a time."""
