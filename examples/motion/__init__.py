"""What the experiment on motion is made of."""
