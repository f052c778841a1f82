"""The last step: proves that nothing is missing, publishes the volume, and tells how the run went."""
