"""The method: the FOCUS paper in torch and numpy. Knows no cluster, no tracker, no store."""
