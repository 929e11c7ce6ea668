"""What the experiments share: where data are, rows of a table that are kept."""
