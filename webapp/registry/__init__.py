"""The registry's snapshot: loading, refreshing, the last-good copy, and `ModelRegistry`, which serves it from memory."""

from webapp.domain.pricing.usage import Usage
from webapp.registry.registry import ModelRegistry

__all__ = ["ModelRegistry", "Usage"]
