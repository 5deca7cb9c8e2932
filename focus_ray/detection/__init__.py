"""Landmarks of a folder of photographs by a detector: Ray Data actors, shards of finished pictures, output files."""
