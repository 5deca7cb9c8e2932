"""Sweeps: Ray Tune searches thresholds, weights and schedules; every trial is an ordinary run."""
