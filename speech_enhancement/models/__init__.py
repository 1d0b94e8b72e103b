"""The networks, one a file, and their losses; nothing here knows files."""
