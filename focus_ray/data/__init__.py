"""Data: photographs with landmarks, and synthetic faces with exact ground truth."""
