"""What runs on the device as root, before and between releases: only the standard library, Python 3.10 on."""
