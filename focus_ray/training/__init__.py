"""Training: the loop, and the run around it, in one process or under Ray Train."""
