"""Thin wrappers of the operating system: files, signals, logging, the service manager."""
