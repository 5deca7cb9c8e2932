"""The NoW benchmark: distances from scans to predicted surfaces, as its public evaluation measures them."""
