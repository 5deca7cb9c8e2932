"""Meshes as files: one reader for meshes of unknown origin, one writer for the package's own meshes."""
