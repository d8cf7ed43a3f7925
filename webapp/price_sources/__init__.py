"""Readers of public catalogs of models and prices. Nothing here is fetched from the network."""
