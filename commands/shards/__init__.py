"""`fibstack explain-shards`: levels, shards and bytes of a volume."""
