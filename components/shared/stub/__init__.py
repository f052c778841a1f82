"""Stubs: runs whose programs prove that they could do their work, and do none of it."""
