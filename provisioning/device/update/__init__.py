"""Updates and rollbacks of an installed device."""
