"""Occluders and changes of photographs that a segmenter is trained with; benchmarks and composites do not use them."""
