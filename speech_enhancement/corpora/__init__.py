"""Recordings to learn from: found, pooled and split."""
