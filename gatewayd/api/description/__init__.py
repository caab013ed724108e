"""The description of the API: the OpenAPI document, the schemas in it, and the page that shows it."""
