"""Providers and models, model succession, and statistics of model runs."""
