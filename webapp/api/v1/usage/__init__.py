"""Endpoints for reported usage and its totals."""
