"""`evaluate`: how good a model is on its owner's own pictures, in figures that can be compared."""
