"""`fibstack sample`: a made-up FIB-SEM stack whose alignment is known."""
