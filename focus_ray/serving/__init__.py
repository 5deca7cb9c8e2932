"""The endpoint: Ray Serve hosts the fitted model behind HTTP, with a web page, admission, and metrics."""
