"""Installs and uninstalls a device."""
