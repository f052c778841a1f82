"""`fibstack verify`: a finished volume read again."""
