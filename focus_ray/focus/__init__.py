"""The method of the FOCUS paper in torch and numpy; imports no cluster, tracker or storage code."""
