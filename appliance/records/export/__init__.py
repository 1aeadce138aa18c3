"""A recorded session as CSV, JSON and PDF."""
