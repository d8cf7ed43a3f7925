"""Deprecated path of `webapp.registry`, importable until the next release."""

from webapp.registry import ModelRegistry

__all__ = ["ModelRegistry"]
