"""The store: numbers of sessions in one SQLite file, and nothing else. Only this package knows SQL."""
