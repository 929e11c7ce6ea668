"""What Experiment 6 is made of: faces that are known by random projections only."""
