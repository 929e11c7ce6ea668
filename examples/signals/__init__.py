"""Textures and sounds: data, the generator, scores, tables, pictures."""
