"""Evaluating energies fast; everything works without this folder."""
