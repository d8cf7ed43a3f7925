"""xAI's Grok, by OpenAI's protocol."""

from collections.abc import Mapping

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import Driver, Endpoint
from webapp.drivers.core.openai_compatible import CompatibleDriver, usage_parts
from webapp.drivers.core.vendor import sum_or_none, usage_from
from webapp.security.urlguard import OutboundPolicy


class GrokDriver(CompatibleDriver):
    """Its reasoning tokens are not among its completion tokens: ours are, so they are added."""

    token_parameter = "max_completion_tokens"

    def usage(self, reported: object) -> Usage | None:
        if not isinstance(reported, Mapping):
            return None
        parts = usage_parts(reported)
        output = (
            sum_or_none(reported.get("completion_tokens"), parts["reasoning"]) if reported.get("completion_tokens") is not None else None
        )
        return usage_from({"input": reported.get("prompt_tokens"), "output": output}, parts)


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return GrokDriver(endpoint, policy)
