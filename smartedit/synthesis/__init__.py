"""The stages that build the synthetic set, as plain functions over tables."""
