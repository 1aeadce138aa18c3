"""Reading a face: the crop, the classifier, its quality, and smoothing over time."""
