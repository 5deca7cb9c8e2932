"""Evaluation of models against faces with ground truth."""
