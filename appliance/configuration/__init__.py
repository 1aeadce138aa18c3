"""Settings: where they come from, what they may be, and what changed since the last start."""
