"""What the comparison of kernels is made of."""
