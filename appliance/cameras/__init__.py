"""Camera backends, one per file, loaded only through the registry."""
