"""Calibration of the limits beyond which a face has a quality flag."""
