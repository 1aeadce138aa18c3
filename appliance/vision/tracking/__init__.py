"""Tracking: which face is which from frame to frame, and which of them have a consent slot."""
