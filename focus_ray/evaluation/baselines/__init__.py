"""Ways to segment a face that the paper compares with and that are not trained networks."""
