"""`fibstack submit`: a run on a cluster, and the stub that tries it first."""
