"""Recognisers as the frozen network F of the perceptual losses, read from the files that their owners publish."""
