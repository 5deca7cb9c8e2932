"""What training, sweeps, priors and evaluation share: the Ray cluster, task pools, run folders, callbacks, signals."""
