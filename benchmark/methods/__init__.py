"""Editing methods, one file a family."""
