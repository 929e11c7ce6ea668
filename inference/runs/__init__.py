"""Long work: a visit to the chains of a batch, a sampling run, and what both keep in files."""
