"""Runs as root on the device, before and between releases: only the standard library, Python 3.10 on."""
