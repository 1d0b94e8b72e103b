"""A trained network at work: its card, its runtime, recordings in blocks."""
