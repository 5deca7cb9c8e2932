"""Terms of everything that a model is made of or used with, and whether the model may be sold."""
