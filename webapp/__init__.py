"""Modeldesk: a registry and admin for LLM providers, models and prices. Imports nothing, so that each module can be imported alone."""

__version__ = "0.1.0"
