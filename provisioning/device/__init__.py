"""Runs as root on the device, before and between releases. Standard library only, Python 3.10 or newer."""
