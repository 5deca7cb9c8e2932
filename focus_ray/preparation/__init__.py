"""Preparation of data sets for training: aligned faces in shards, by Ray tasks, resumable."""
