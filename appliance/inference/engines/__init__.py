"""Engines that run a model, each in its own file, loaded only through the registry."""
