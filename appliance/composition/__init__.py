"""The composition root: makes every part from the configuration; no other package sees both."""
