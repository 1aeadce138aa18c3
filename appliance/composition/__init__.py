"""The composition root: builds every part from the configuration; no other package sees both."""
