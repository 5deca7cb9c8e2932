"""Segmentation baselines of the paper that are not trained networks."""
