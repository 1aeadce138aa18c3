"""Release bundles: made on a workstation, verified on the device."""
