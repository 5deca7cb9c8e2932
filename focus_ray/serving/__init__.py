"""HTTP endpoint: Ray Serve deployments of the trained model, with a web page, admission control and metrics."""
