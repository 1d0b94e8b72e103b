"""What lies on a disk or comes from a network: read through one door, written whole."""
