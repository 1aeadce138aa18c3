"""Reading pictures and videos from files."""
