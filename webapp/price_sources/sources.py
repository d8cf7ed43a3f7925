"""Catalog sources: each public catalog of models and prices is read into one format, which a sync compares with the registry.

`read_catalog` returns providers and models as documents for `domain.catalog.serializers.catalog_from`. Rates that the price model cannot
express are omitted, with the reason in the price's note, and counted. Unreadable records are listed in `problems`. Nothing is guessed, and
nothing is fetched from the network.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from webapp.domain.catalog import builtin
from webapp.domain.catalog.source_scope import FULL_SCOPE, SourceScope
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import foreign_files, litellm, models_dev
from webapp.price_sources.cost_fields import ReadLog
from webapp.price_sources.exact_json import CatalogEntries
from webapp.price_sources.genai_fields import GENAI_SCOPE
from webapp.price_sources.litellm_fields import LITELLM_SCOPE
from webapp.price_sources.models_dev import MODELS_DEV_SCOPE

MAX_BYTES = 20_000_000
SEED = "seed"


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """A supported kind of catalog. `bundled` sources need no file."""

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
        CatalogSource(
            SEED,
            "Seed update, the models that come with this version",
            "New dates and prices for models of an earlier version.",
            bundled=True,
        ),
        CatalogSource("modeldesk", "An export of a Modeldesk, a file", "What “registry export” writes, as JSON or YAML."),
    )
}


@dataclass(frozen=True, slots=True)
class SourceCatalog:
    """A catalog that was read. `version` is its readable name; `digest` is the SHA-256 of its bytes.

    `problems` are all records and fields that could not be read. `records_left_out` counts the records among them, `fields_read` and
    `fields_noted` the non-zero cost fields in rates and in notes. `scope` is what the source can state.
    """

    source: str
    version: str
    digest: str
    providers: list[dict[str, Any]]
    models: list[dict[str, Any]]
    problems: list[str] = field(default_factory=list)
    records_left_out: int = 0
    fields_read: int = 0
    fields_noted: int = 0
    scope: SourceScope = FULL_SCOPE

    @property
    def name(self) -> str:
        """The source name that its prices carry."""
        return self.source.removesuffix("-json")


def read_catalog(source: str, data: bytes | None = None) -> SourceCatalog:
    """Read the bundled catalog, or a file of the named source. Raises `Invalid` with the reason."""
    kind = SOURCES.get(source)
    if kind is None:
        raise Invalid.field("source", f"must be one of {', '.join(SOURCES)}")
    if kind.bundled:
        return _read_seed() if source == SEED else _read_bundled()
    if not data:
        raise Invalid.field("file", f"is needed for {kind.label}: {kind.hint}")
    if len(data) > MAX_BYTES:
        raise Invalid.field("file", f"is larger than {MAX_BYTES // 1_000_000} MB")
    if reason := foreign_files.describe_proxy_configuration(data.decode("utf-8", "replace")):
        raise Invalid.field("file", reason)
    log = ReadLog()
    reader = _reader_for(source)
    entries = reader.read(data, log)
    if not entries[1]:
        example = f" Nothing in it can be read. The first problem: {log.problems[0]}" if log.problems else ""
        raise Invalid.field("file", f"names no model: is it really {kind.label.removesuffix(', a file')}? {kind.hint}{example}")
    digest = hashlib.sha256(data).hexdigest()
    return SourceCatalog(
        source, f"file {digest[:12]}", digest, *entries, log.problems, log.records_left_out, log.fields_read, log.fields_noted, reader.scope
    )


def _read_bundled() -> SourceCatalog:
    from genai_prices import data

    from webapp.price_sources import genai

    log = ReadLog()
    digest = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()
    entries = genai.catalog_document(genai.bundled_providers(), log)
    label = f"version {version(genai.NAME)}"
    return SourceCatalog(
        genai.NAME, label, digest, *entries, log.problems, log.records_left_out, log.fields_read, log.fields_noted, GENAI_SCOPE
    )


def _read_seed() -> SourceCatalog:
    """Return the constants of this version. Their prices name the sources that they came from."""
    document = builtin.catalog_document()
    digest = hashlib.sha256(builtin.CATALOG_FILE.read_bytes()).hexdigest()
    rates = sum(len(price["rates"]) for model in document["models"] for price in model["prices"])
    label = f"of {document['source']['generated_on']}"
    return SourceCatalog(SEED, label, digest, document["providers"], document["models"], fields_read=rates)


class _Reader(NamedTuple):
    """The function that reads a file, and what such a file can state."""

    read: Callable[[bytes, ReadLog], CatalogEntries]
    scope: SourceScope


def _reader_for(source: str) -> _Reader:
    from webapp.price_sources import catalog_files

    return {
        "genai-prices-json": _Reader(catalog_files.read_genai_json, GENAI_SCOPE),
        "litellm": _Reader(litellm.read_litellm, LITELLM_SCOPE),
        "models.dev": _Reader(models_dev.read_models_dev, MODELS_DEV_SCOPE),
        "modeldesk": _Reader(catalog_files.read_modeldesk, FULL_SCOPE),
    }[source]
