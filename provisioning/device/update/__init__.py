"""Updating an installed device, and rolling it back."""
