"""The HTTP interface described: models, bodies, OpenAPI."""
