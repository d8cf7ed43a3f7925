"""Driver for OpenAI."""

from webapp.drivers.core.base import Driver, Endpoint
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.security.urlguard import OutboundPolicy


class OpenAIDriver(CompatibleDriver):
    """Newer models reject `max_tokens`, the name that most other servers use."""

    token_parameter = "max_completion_tokens"


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return OpenAIDriver(endpoint, policy)
