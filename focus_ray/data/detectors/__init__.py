"""Detectors of faces, by name: see `by_name.py`."""
