"""Prices, and recorded calls at other prices."""
