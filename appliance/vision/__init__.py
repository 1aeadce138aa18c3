"""Pure perception: numpy in, values out; no I/O, no threads."""
