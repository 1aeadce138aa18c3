"""`analyze`: files in, readings out."""
