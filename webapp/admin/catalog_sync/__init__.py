"""Proposals of catalog changes."""
