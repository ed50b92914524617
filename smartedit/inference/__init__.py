"""Sampling, the pipeline and the editor."""
