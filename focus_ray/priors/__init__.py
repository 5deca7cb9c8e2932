"""Computation of the misfit prior: tasks render and fit faces in shards, a tree reduces their errors."""
