"""Face models of others, read from their published files: ICT-FaceKit, BFM, FLAME, eos and GNM Head."""
