"""Finding faces: BlazeFace, where to look, and merging what was found."""
