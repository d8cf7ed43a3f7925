"""Driver for GitHub Copilot and GitHub Models, on OpenAI's protocol.

GitHub publishes no contract, so rows configure headers and addresses.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.drivers.core.base import Driver, DriverError, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.drivers.core.vendor import as_mapping, count_or_none
from webapp.security.urlguard import OutboundPolicy


class CopilotDriver(CompatibleDriver):
    """Driver for a base URL without `/v1`. The catalog of GitHub Models is a bare list, which the SDK cannot read."""

    def headers(self) -> dict[str, str]:
        # Copilot requires the name of an editor. A row can override it.
        return {"Copilot-Integration-Id": "vscode-chat", "Editor-Version": "Modeldesk/1.0"} | super().headers()

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        document: Any = self._sdk.models.with_raw_response.list().http_response.json()
        data = document.get("data") if isinstance(document, Mapping) else document
        if not isinstance(data, list):
            raise DriverError("invalid_response", trace=trace)
        return (_upstream_model(entry) for entry in data if isinstance(entry, Mapping) and isinstance(entry.get("id"), str))


def _upstream_model(entry: Mapping[str, Any]) -> UpstreamModel:
    limits, name = as_mapping(entry.get("limits")), entry.get("name")
    label = name if isinstance(name, str) else None
    return UpstreamModel(entry["id"], label, count_or_none(limits.get("max_input_tokens")), count_or_none(limits.get("max_output_tokens")))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return CopilotDriver(endpoint, policy)
