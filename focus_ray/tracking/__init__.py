"""What a run shows: contact sheets, plots and the report page."""
