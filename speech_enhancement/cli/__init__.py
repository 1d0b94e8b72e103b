"""The command line: options, and one mode a file."""
