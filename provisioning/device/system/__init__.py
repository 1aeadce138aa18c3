"""The system around the service: files, accounts, packages, systemd, the sandbox."""
