"""Batches to learn from: stored windows, or mixtures drawn while training runs."""
