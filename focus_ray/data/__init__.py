"""Data: photographs with landmarks, and synthetic faces whose truth is known exactly."""
