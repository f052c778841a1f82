"""Units of work: their hashes and records, what is complete and what is left."""
