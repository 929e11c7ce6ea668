"""What the experiment on objects is made of."""
