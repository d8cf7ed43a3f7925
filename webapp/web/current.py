"""The previous import path of `webapp.runtime.container.registry`, supported until the next release."""

from webapp.runtime.container import registry

__all__ = ["registry"]
