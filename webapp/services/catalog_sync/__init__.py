"""Proposals that a public catalog makes, and their application."""
