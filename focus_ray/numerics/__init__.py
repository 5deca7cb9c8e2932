"""Arithmetic whose bits do not depend on the batch, the device or the order: matrix products, float32, moments."""
