"""The page and its data: Flask blueprints and the one file that knows the WSGI server."""
