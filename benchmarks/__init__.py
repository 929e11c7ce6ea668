"""Benchmarks: paired ratios, each against work that is first checked to compute the same."""
