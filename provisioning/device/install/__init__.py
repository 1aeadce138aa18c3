"""Installing a device, and removing everything again."""
