"""Presets of the data factory."""
