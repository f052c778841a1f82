"""The volume that is written: levels, formats, shards and tiles."""
