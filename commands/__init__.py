"""What a person types: one file or folder for each subcommand of `fibstack`."""
