"""OpenAI itself."""

from webapp.drivers.core.base import Driver, Endpoint
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.security.urlguard import OutboundPolicy


class OpenAIDriver(CompatibleDriver):
    """Newer models refuse `max_tokens`, which is the name that most other servers know."""

    token_parameter = "max_completion_tokens"


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return OpenAIDriver(endpoint, policy)
