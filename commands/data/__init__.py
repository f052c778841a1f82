"""What people do with data before and after a run: `fibstack data`."""
