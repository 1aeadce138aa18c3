"""Reads pictures and videos from files."""
