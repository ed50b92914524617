"""Adapters of grounding, segmentation, inpainting, scoring and writing models."""
