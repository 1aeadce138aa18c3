"""Reading pictures and films from files."""
