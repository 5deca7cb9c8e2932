"""Shared by training, sweeps, priors and evaluation: Ray cluster, task pools, run folders, callbacks, signals."""
