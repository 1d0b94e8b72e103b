"""Mixtures of voices and noises: how they are drawn."""
