"""Sentences on a run: verdict, summary, slices that stand out, the message at its end."""
