"""Sound denoised while it arrives."""
