"""Driver for GitHub Copilot and GitHub Models, on OpenAI's protocol.

GitHub publishes no contract, so rows configure headers and addresses.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.drivers.core.base import Driver, Endpoint, Trace, UpstreamModel
from webapp.drivers.core.openai_compatible import CompatibleDriver
from webapp.drivers.core.vendor import as_mapping, count_or_none, model_entries, read_json
from webapp.security.urlguard import OutboundPolicy


class CopilotDriver(CompatibleDriver):
    """Driver for a base URL without `/v1`. The catalog of GitHub Models is a bare list with the limits of each model."""

    def headers(self) -> dict[str, str]:
        # Copilot requires the name of an editor. A row can override it.
        return {"Copilot-Integration-Id": "vscode-chat", "Editor-Version": "Modeldesk/1.0"} | super().headers()

    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        document = read_json(self._sdk.models.with_raw_response.list, trace)
        return (_upstream_model(model) for model in model_entries(document, trace))


def _upstream_model(entry: Mapping[str, Any]) -> UpstreamModel:
    limits, name = as_mapping(entry.get("limits")), entry.get("name")
    label = name if isinstance(name, str) else None
    return UpstreamModel(entry["id"], label, count_or_none(limits.get("max_input_tokens")), count_or_none(limits.get("max_output_tokens")))


def build(endpoint: Endpoint, policy: OutboundPolicy) -> Driver:
    """Build the driver. `create_driver` calls this function."""
    return CopilotDriver(endpoint, policy)
