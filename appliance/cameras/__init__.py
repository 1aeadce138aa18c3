"""Camera backends, each in its own file, loaded only through the registry."""
