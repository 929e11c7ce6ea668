"""What the experiment on hidden pixels is made of."""
