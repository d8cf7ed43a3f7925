"""Providers and models, the succession of models, and figures from their runs."""
