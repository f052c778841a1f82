"""Judges each slice: figures, the verdict that follows, and the action, which slice is shown."""
