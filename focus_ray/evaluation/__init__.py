"""Models against faces whose truth is known."""
