"""Runs of the method: a plain loop that needs nothing but a machine."""
