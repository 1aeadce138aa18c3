"""Pure perception: numpy arrays in, values out; no I/O, no threads."""
