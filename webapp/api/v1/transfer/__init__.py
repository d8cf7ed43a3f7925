"""Endpoints to export and import the registry as a file."""
