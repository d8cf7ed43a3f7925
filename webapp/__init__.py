"""Modeldesk: a desk for LLM providers, models and prices. Imports nothing, so that every module can be imported alone."""

__version__ = "0.1.0"
