"""Endpoints for costs, quotes and comparisons."""
