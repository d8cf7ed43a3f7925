"""Costs, quotes and comparisons."""
