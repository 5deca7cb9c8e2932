"""Face models: shape and albedo as means and bases (section 3.1), the 68 landmarks, and one made by code."""
