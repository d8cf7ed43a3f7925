"""Prices, the calculator, comparison and what-if."""
