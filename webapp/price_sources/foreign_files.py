"""Files of LiteLLM that look like registry files. Each is recognized, so that the error says where the file belongs."""

import re

_NAMES = "model_list|litellm_settings|router_settings"
_PROXY_CONFIGURATION = re.compile(rf"^(?:(?:{_NAMES})|\{{?\s{{0,4}}[\"'](?:{_NAMES})[\"'])\s*:", re.MULTILINE)
_PRICE_MAP = re.compile(r'"litellm_provider"\s*:')
_REGISTRY = "modeldesk-registry"


def describe_proxy_configuration(text: str) -> str | None:
    """Return what a LiteLLM configuration is and what to upload instead, or None for every other file."""
    if _REGISTRY in text or not _PROXY_CONFIGURATION.search(text):
        return None
    return (
        "This is the configuration of a LiteLLM proxy (config.yaml), not an export of Modeldesk, so nothing was imported. "
        "For public prices, upload LiteLLM's model_prices_and_context_window.json on the Proposals page. "
        "For your own models and prices, import a CSV file with the columns of a CSV export."
    )


def describe_foreign_file(text: str) -> str | None:
    """Return what a file of LiteLLM is and what to upload instead, or None for every other file."""
    if reason := describe_proxy_configuration(text):
        return reason
    if _REGISTRY not in text and _PRICE_MAP.search(text):
        return (
            "This is LiteLLM's price map, not an export of Modeldesk, so nothing was imported. "
            "Upload it on the Proposals page, or run `flask --app wsgi catalog sync litellm --file FILE`."
        )
    return None
