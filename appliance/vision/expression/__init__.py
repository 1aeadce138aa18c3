"""Expression: crop, classifier, quality check, and smoothing over time."""
