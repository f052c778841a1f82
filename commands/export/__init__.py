"""`fibstack export`: a volume written anew with other contrast, quality or crop."""
