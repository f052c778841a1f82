"""Speed and memory of fibstack's pyramid and tiles against peers and against the encoders' own."""
