"""`slices.jsonl`: a line for each z, for people and their scripts."""

from __future__ import annotations

SLICES_KEY = "slices.jsonl"
"""Keys below the process URI; slices.jsonl has a line for each z, for people and their scripts."""
