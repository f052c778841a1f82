"""What is submitted: the pipeline, its settings, its compilers and the command line."""
