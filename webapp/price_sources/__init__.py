"""Readers of public catalogs of models and prices. They never use the network."""
