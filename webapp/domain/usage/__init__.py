"""Usage that applications report. `Usage` itself is part of pricing; this old import path stays until the next release."""

from webapp.domain.pricing.usage import Usage

__all__ = ["Usage"]
