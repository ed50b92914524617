"""Readers of the public data sets, one module a data set."""
