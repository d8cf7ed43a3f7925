"""The snapshot of the registry: loading, refreshing, the last-good copy, and `ModelRegistry`, which answers from it."""

from webapp.domain.pricing.usage import Usage
from webapp.registry.registry import ModelRegistry

__all__ = ["ModelRegistry", "Usage"]
