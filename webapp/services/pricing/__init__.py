"""Prices, and repricing of recorded calls."""
