"""Imputers side by side: tables, gaps made in them, rivals, scores of hidden cells, the report."""
