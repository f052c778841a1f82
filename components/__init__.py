"""The steps of fibstack, one folder each, and the library that they share."""
