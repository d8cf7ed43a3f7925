"""Encoded parts of one snapshot: bodies and fragments that many responses share, kept as bytes."""

import hashlib
import threading
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from flask import g

from webapp import __version__
from webapp.api.v1.core.responses import encode
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.serializers import Document, model_document, snapshot_document
from webapp.domain.catalog.snapshot import Snapshot, project_snapshot
from webapp.domain.pricing.costs import Cost
from webapp.domain.pricing.pricing import Rate
from webapp.domain.pricing.usage import quantity_document
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container

MAX_CACHED_BODIES = 20_000  # About 20 MB. A larger registry is encoded again from time to time.
ROUNDED = ',"rounded":true'
SortKey = Callable[[ModelInfo], tuple[int | str, ...]]


class RateFragment(NamedTuple):
    """The part of a cost line that depends only on the rate. It holds the rate, so that no other rate can get the same `id`."""

    rate: Rate
    text: str


class EncodedRegistry:
    """One snapshot and its encoded parts. Any part can be dropped at any time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # The format of a response can change with the application's version, its content with the snapshot.
        self.tag = f"{__version__}.{snapshot.tag}"
        self._models: dict[str, bytes] = {}
        self._fragments: dict[int, RateFragment] = {}
        self._orders: dict[str, list[ModelInfo]] = {}
        self._snapshot_body: bytes | None = None
        self._views: dict[str, EncodedRegistry] = {}
        self._snapshot_lock = threading.Lock()
        self._patterns = _patterns_by_ref(snapshot)
        self._by_id: dict[int | None, ModelInfo] = {model.id: model for model in snapshot.models}

    def project_view(self, project: str | None) -> "EncodedRegistry":
        """Return the registry as a project with overrides sees it, created once. Without overrides, return `self`."""
        if project is None or not self.snapshot.catalog.overrides:
            return self
        view = self._views.get(project)
        if view is None:
            snapshot = project_snapshot(self.snapshot, project, datetime.now(UTC))
            view = self if snapshot is self.snapshot else EncodedRegistry(snapshot)
            if view is not self:
                view.tag = f"{self.tag}.{hashlib.sha256(project.encode()).hexdigest()[:12]}"
            self._views[project] = view
        return view

    def encode_model(self, model: ModelInfo) -> bytes:
        """Return the JSON of a model."""
        body = self._models.get(model.ref)
        if body is None:
            if len(self._models) >= MAX_CACHED_BODIES:
                self._models.clear()
            body = self._models[model.ref] = encode(self.model_document(model))
        return body

    def model_document(self, model: ModelInfo) -> Document:
        """Return the document of a model with all its aliases, patterns included, so that a client can send it back."""
        document = model_document(model)
        document["aliases"] += self._patterns.get(model.ref, ())
        return document

    def get_model_or_none(self, model_id: int) -> ModelInfo | None:
        return self._by_id.get(model_id)

    def sorted_models(self, name: str, key: SortKey) -> list[ModelInfo]:
        """Return all models sorted by this key. `name` identifies the key in the cache."""
        models = self._orders.get(name)
        if models is None:
            models = self._orders[name] = sorted(self.snapshot.models, key=key)
        return models

    def encode_snapshot(self) -> bytes:
        """Return the JSON of the whole registry. Concurrent readers wait for a single encoding."""
        with self._snapshot_lock:
            if self._snapshot_body is None:
                snapshot = self.snapshot
                self._snapshot_body = encode(snapshot_document(snapshot.catalog, snapshot.models, tuple(snapshot.providers.values())))
            return self._snapshot_body

    def encode_cost(self, cost: Cost) -> str:
        """Return the JSON of a cost. It equals `cost_document`, but is several times faster."""
        fragments = self._fragments
        lines = [
            f'{{"meter":"{meter}","quantity":{quantity if type(quantity) is int else encode(quantity_document(quantity)).decode()},'
            f'{(fragments.get(id(rate)) or self._rate_fragment(rate)).text}{format_decimal(amount)}"{ROUNDED if rounded else ""}}}'
            for meter, quantity, rate, amount, rounded in cost.lines
        ]
        total = "null" if cost.total is None else f'"{format_decimal(cost.total)}"'
        price_id = "null" if cost.price_id is None else cost.price_id
        attributes = f',"attributes":{encode(dict(cost.attributes)).decode()}' if cost.attributes else ""
        surcharge = "" if cost.surcharge is None else f',"surcharge":"{format_decimal(cost.surcharge)}"'
        return (
            f'{{"model":{_encode_text(cost.model)},"at":{_encode_time(cost.at)},"currency":{_encode_text(cost.currency)},"total":{total},'
            f'"complete":{"true" if cost.complete else "false"},"price_id":{price_id},"price_state":"{cost.price_state}",'
            f'"service_tier":"{cost.service_tier}","lines":[{",".join(lines)}],"missing":{_encode_text(cost.missing)}'
            f"{ROUNDED if cost.rounded else ''}{surcharge}{attributes}}}"
        )

    def _rate_fragment(self, rate: Rate) -> RateFragment:
        above = "null" if rate.above is None else rate.above
        text = f'"billed_as":"{rate.meter}","amount":"{format_decimal(rate.amount)}","per":{rate.per},"above":{above},"cost":"'
        fragment = RateFragment(rate, text)
        if len(self._fragments) < MAX_CACHED_BODIES:
            self._fragments[id(rate)] = fragment
        return fragment


def _patterns_by_ref(snapshot: Snapshot) -> Mapping[str, list[str]]:
    patterns: dict[str, list[str]] = {}
    for pattern, ref in snapshot.catalog.patterns:
        patterns.setdefault(ref, []).append(pattern)
    return patterns


@lru_cache(maxsize=4_096)
def _encode_text(value: str | tuple[str, ...] | None) -> str:
    return encode(value).decode()


@lru_cache(maxsize=1_024)
def _encode_time(at: datetime | None) -> str:
    return "null" if at is None else f'"{format_timestamp(at)}"'


_latest: weakref.WeakKeyDictionary[ModelRegistry, EncodedRegistry] = weakref.WeakKeyDictionary()


def request_registry() -> EncodedRegistry:
    """Return the current snapshot as the project of the request's token sees it."""
    token = g.get("token")
    return encode_registry(container.registry()).project_view(token.project if token else None)


def unscoped_registry() -> EncodedRegistry:
    """Return the current snapshot without project overrides, to manage rows, which all projects share."""
    return encode_registry(container.registry())


def encode_registry(registry: ModelRegistry) -> EncodedRegistry:
    """Return the encoded form of the snapshot that this registry serves."""
    snapshot = registry.snapshot
    encoded = _latest.get(registry)
    if encoded is None or encoded.snapshot is not snapshot:
        encoded = _latest[registry] = EncodedRegistry(snapshot)
    return encoded
