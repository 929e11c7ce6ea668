"""What draws say about themselves: convergence, running moments, ArviZ's structures."""
