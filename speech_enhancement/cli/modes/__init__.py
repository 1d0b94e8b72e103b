"""One mode a file, each reading like the table of contents of its work."""
