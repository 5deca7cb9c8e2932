"""Face models, their landmarks and parameters, and the camera that looks at them."""
