"""Reproduces the paper's tables: trains every model, predicts on three data sets and scores the predictions."""
