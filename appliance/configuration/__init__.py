"""The configuration: its layers, its settings and their reference, and changes since the last start."""
