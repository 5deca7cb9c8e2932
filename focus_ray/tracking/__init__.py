"""Tracking of a run: contact sheets, plots, the report page, MLflow."""
