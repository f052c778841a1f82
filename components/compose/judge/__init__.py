"""Verdicts on slices, and what is shown in place of a bad one."""
