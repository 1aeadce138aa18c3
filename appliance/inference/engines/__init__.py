"""Engines, one per file, loaded only through the registry."""
