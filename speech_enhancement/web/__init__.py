"""The web page that denoises recordings."""
