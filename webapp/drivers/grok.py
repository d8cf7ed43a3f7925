"""Driver for xAI's Grok, on OpenAI's protocol."""

from webapp.drivers.core.base import Driver, Endpoint
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.security.urlguard import OutboundPolicy


class GrokDriver(CompatibleDriver):
    """Newer models reject `max_tokens`. Completion tokens exclude reasoning tokens."""

    token_parameter = "max_completion_tokens"
    usage_format = "xai"


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return GrokDriver(endpoint, policy)
