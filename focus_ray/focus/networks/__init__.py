"""The networks of section 3.1: encoder, segmenter, and the frozen network of the perceptual losses."""
