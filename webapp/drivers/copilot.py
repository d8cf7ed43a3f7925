"""GitHub Copilot and GitHub Models, by OpenAI's protocol: there is no published contract, so headers and addresses are rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.drivers.core.base import Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.drivers.core.vendor import as_mapping, count_or_none
from webapp.security.urlguard import OutboundPolicy


class CopilotDriver(CompatibleDriver):
    """Base URL without `/v1`. The catalogue of GitHub Models is a bare list, which the SDK would not read."""

    def headers(self) -> dict[str, str]:
        # Copilot wants to know which editor asks; a row may say something else.
        return {"Copilot-Integration-Id": "vscode-chat", "Editor-Version": "Modeldesk/1.0"} | super().headers()

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        answer: Any = self._sdk.models.with_raw_response.list().http_response.json()
        data = answer.get("data") if isinstance(answer, Mapping) else answer
        if not isinstance(data, list):
            raise DriverError("invalid_response", trace=trace)
        return (_upstream_model(one) for one in data if isinstance(one, Mapping) and isinstance(one.get("id"), str))


def _upstream_model(one: Mapping[str, Any]) -> UpstreamModel:
    limits, name = as_mapping(one.get("limits")), one.get("name")
    label = name if isinstance(name, str) else None
    return UpstreamModel(one["id"], label, count_or_none(limits.get("max_input_tokens")), count_or_none(limits.get("max_output_tokens")))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """What `create_driver` calls."""
    return CopilotDriver(endpoint, policy)
