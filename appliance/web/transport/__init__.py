"""Bytes to and from browsers: the server, TLS, WebSockets, and their limits."""
