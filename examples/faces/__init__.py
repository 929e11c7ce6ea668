"""What the experiments on faces share."""
