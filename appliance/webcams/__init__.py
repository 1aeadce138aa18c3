"""Clients that send their own pictures: a browser with a webcam, a program."""
