"""GitHub Copilot and GitHub Models, by OpenAI's protocol: there is no published contract, so headers and addresses are rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.drivers.core.base import Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.drivers.core.vendor import members, number
from webapp.security.urlguard import OutboundPolicy


class CopilotDriver(CompatibleDriver):
    """Base URL without `/v1`. The catalogue of GitHub Models is a bare list, which the SDK would not read."""

    def headers(self) -> dict[str, str]:
        # Copilot wants to know which editor asks; a row may say something else.
        return {"Copilot-Integration-Id": "vscode-chat", "Editor-Version": "Modeldesk/1.0"} | super().headers()

    def listed(self, trace: Trace) -> Iterable[UpstreamModel]:
        answer: Any = self._sdk.models.with_raw_response.list().http_response.json()
        data = answer.get("data") if isinstance(answer, Mapping) else answer
        if not isinstance(data, list):
            raise DriverError("invalid_response", trace=trace)
        return (_model(one) for one in data if isinstance(one, Mapping) and isinstance(one.get("id"), str))


def _model(one: Mapping[str, Any]) -> UpstreamModel:
    limits, name = members(one.get("limits")), one.get("name")
    label = name if isinstance(name, str) else None
    return UpstreamModel(one["id"], label, number(limits.get("max_input_tokens")), number(limits.get("max_output_tokens")))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `driver_for` calls."""
    return CopilotDriver(endpoint, policy)
