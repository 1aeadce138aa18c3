"""The store: only the numbers of sessions, in one SQLite file. No other package uses SQL."""
