"""The paper's tables from nothing: models are trained, put to work on three data sets, and scored like anybody's."""
