"""Driver for xAI's Grok, on OpenAI's protocol."""

from collections.abc import Mapping

from webapp.domain.pricing.usage import Usage
from webapp.drivers.core.base import Driver, Endpoint
from webapp.drivers.core.openai_compatible import CompatibleDriver, usage_parts
from webapp.drivers.core.vendor import sum_or_none, usage_from
from webapp.security.urlguard import OutboundPolicy


class GrokDriver(CompatibleDriver):
    """Adds reasoning tokens to the output: xAI's completion tokens exclude them, and Modeldesk's output includes them."""

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
    """Build the driver. `create_driver` calls this function."""
    return GrokDriver(endpoint, policy)
