"""Reported usage and its sums."""
