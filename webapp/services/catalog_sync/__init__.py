"""Proposals from a public catalog, and their application."""
