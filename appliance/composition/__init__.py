"""The composition root: the only package that sees both the configuration and the parts."""
