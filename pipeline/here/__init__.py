"""The compiled pipeline on this machine."""
