"""The old path of `webapp.runtime.container.registry`: importable until the next release."""

from webapp.runtime.container import registry

__all__ = ["registry"]
