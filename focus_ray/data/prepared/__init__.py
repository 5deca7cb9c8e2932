"""Prepared faces: aligned pictures of a data set in shards, with an index, on a disk or in an object store."""
