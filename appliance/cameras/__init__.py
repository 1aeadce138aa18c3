"""Camera backends, one in each file, loaded only through the registry."""
