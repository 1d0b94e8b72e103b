"""Recordings denoised from disk to disk, one or many."""
