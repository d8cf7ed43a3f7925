"""Public catalogues of models and prices, each read into one shape: what a sync compares with the registry. Nothing here is fetched.

`read` gives providers and models as the documents that `domain.catalog.serializers.catalog_from` takes. What a source says
and our price model cannot is left out with the reason in the price's note; a record that cannot be read is named in `problems`.
Nothing is guessed.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from webapp.domain.shared.errors import Invalid
from webapp.price_sources.exact_json import CatalogEntries

MAX_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """A kind of catalogue that can be read. `bundled` ones need no file."""

    name: str
    label: str
    hint: str
    bundled: bool = False


SOURCES: Mapping[str, CatalogSource] = {
    source.name: source
    for source in (
        CatalogSource(
            "genai-prices", "genai-prices, the installed package", "Comes with Modeldesk; upgrade it for newer prices.", bundled=True
        ),
        CatalogSource("genai-prices-json", "genai-prices, a file", "The JSON that the project publishes as data.json."),
        CatalogSource("litellm", "LiteLLM's price map, a file", "model_prices_and_context_window.json of the LiteLLM project."),
        CatalogSource("models.dev", "models.dev, a file", "The JSON that models.dev serves as api.json."),
        CatalogSource("modeldesk", "An export of a Modeldesk, a file", "What “registry export” writes, as JSON or YAML."),
    )
}


@dataclass(frozen=True, slots=True)
class SourceCatalog:
    """A catalogue that was read. `version` names it for people, `digest` is that of its bytes."""

    source: str
    version: str
    digest: str
    providers: list[dict[str, Any]]
    models: list[dict[str, Any]]
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What prices that come from it call their source."""
        return self.source.removesuffix("-json")


def read_catalog(source: str, data: bytes | None = None) -> SourceCatalog:
    """Reads the bundled catalogue, or a file of the named kind. Raises `Invalid` that says what is wrong with it."""
    known = SOURCES.get(source)
    if known is None:
        raise Invalid.field("source", f"must be one of {', '.join(SOURCES)}")
    if known.bundled:
        return _read_bundled()
    if not data:
        raise Invalid.field("file", f"is needed for {known.label}: {known.hint}")
    if len(data) > MAX_BYTES:
        raise Invalid.field("file", f"is larger than {MAX_BYTES // 1_000_000} MB")
    digest = hashlib.sha256(data).hexdigest()
    problems: list[str] = []
    providers, models = _reader_for(source)(data, problems)
    if not models:
        raise Invalid.field("file", f"names no model: is it really {known.label.removesuffix(', a file')}? {known.hint}")
    return SourceCatalog(source, f"file {digest[:12]}", digest, providers, models, problems)


def _read_bundled() -> SourceCatalog:
    from genai_prices import data

    from webapp.price_sources import genai

    digest = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()
    return SourceCatalog(genai.NAME, f"version {version(genai.NAME)}", digest, *genai.catalog_document(genai.bundled_providers()))


def _reader_for(source: str) -> Callable[[bytes, list[str]], CatalogEntries]:
    from webapp.price_sources import catalog_files

    return {
        "genai-prices-json": catalog_files.read_genai_json,
        "litellm": catalog_files.read_litellm,
        "models.dev": catalog_files.read_models_dev,
        "modeldesk": catalog_files.read_modeldesk,
    }[source]
