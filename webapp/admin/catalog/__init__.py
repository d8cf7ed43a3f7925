"""Providers, models, connection tests and explain."""
