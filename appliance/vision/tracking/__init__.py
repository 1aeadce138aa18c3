"""Tracking: follows faces from frame to frame, and assigns them consent slots."""
