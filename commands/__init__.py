"""The subcommands of `fibstack`, a file or folder each."""
