"""`fibstack run`: the whole pipeline on this machine, and the list of what a run would write and remove."""
