"""Thin doors to the operating system: files, signals, logging, the service manager."""
