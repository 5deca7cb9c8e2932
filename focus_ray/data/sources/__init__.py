"""The data sets of the paper, read as they are published."""
