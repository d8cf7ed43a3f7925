"""What was written out of one snapshot already: bodies and fragments that many answers share, made once and kept as bytes."""

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
from webapp.domain.pricing.pricing import Cost, Rate
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container

MAX_CACHED_BODIES = 20_000  # About 20 MB; a larger registry is written out again from time to time.
SortKey = Callable[[ModelInfo], tuple[int | str, ...]]


class RateFragment(NamedTuple):
    """The part of a cost line that depends on the rate alone. It holds the rate, so that no other can get its identity."""

    rate: Rate
    text: str


class EncodedRegistry:
    """One snapshot and what was made of it so far. Everything here may be dropped at any time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # An answer's form may change with the version of the application, its content with the snapshot.
        self.tag = f"{__version__}.{snapshot.tag}"
        self._models: dict[str, bytes] = {}
        self._fragments: dict[int, RateFragment] = {}
        self._orders: dict[str, list[ModelInfo]] = {}
        self._whole: bytes | None = None
        self._views: dict[str, EncodedRegistry] = {}
        self._one_at_a_time = threading.Lock()
        self._patterns = _patterns_by_ref(snapshot)
        self._by_id: dict[int | None, ModelInfo] = {model.id: model for model in snapshot.models}

    def project_view(self, project: str | None) -> "EncodedRegistry":
        """The same as a project with rules of its own sees it; made once. Without rules it is the very same."""
        if project is None or not self.snapshot.catalog.overrides:
            return self
        found = self._views.get(project)
        if found is None:
            seen = project_snapshot(self.snapshot, project, datetime.now(UTC))
            found = self if seen is self.snapshot else EncodedRegistry(seen)
            if found is not self:
                found.tag = f"{self.tag}.{hashlib.sha256(project.encode()).hexdigest()[:12]}"
            self._views[project] = found
        return found

    def encode_model(self, model: ModelInfo) -> bytes:
        """The body of a model."""
        body = self._models.get(model.ref)
        if body is None:
            if len(self._models) >= MAX_CACHED_BODIES:
                self._models.clear()
            body = self._models[model.ref] = encode(self.model_document(model))
        return body

    def model_document(self, model: ModelInfo) -> Document:
        """A Model with all its names, the patterns too: what is read can be entered again."""
        document = model_document(model)
        document["aliases"] += self._patterns.get(model.ref, ())
        return document

    def get_model_or_none(self, number: int) -> ModelInfo | None:
        return self._by_id.get(number)

    def sorted_models(self, name: str, key: SortKey) -> list[ModelInfo]:
        """All models by this key; the name tells one key from another."""
        found = self._orders.get(name)
        if found is None:
            found = self._orders[name] = sorted(self.snapshot.models, key=key)
        return found

    def encode_snapshot(self) -> bytes:
        """The whole registry. Several readers who ask at once wait for one writing."""
        with self._one_at_a_time:
            if self._whole is None:
                snapshot = self.snapshot
                self._whole = encode(snapshot_document(snapshot.catalog, snapshot.models, tuple(snapshot.providers.values())))
            return self._whole

    def encode_cost(self, cost: Cost) -> str:
        """The body of a cost: as `cost_document` has it, several times faster."""
        fragments = self._fragments
        lines = [
            f'{{"meter":"{meter}","quantity":{quantity},'
            f'{(fragments.get(id(rate)) or self._rate_fragment(rate)).text}{format_decimal(amount)}"}}'
            for meter, quantity, rate, amount in cost.lines
        ]
        total = "null" if cost.total is None else f'"{format_decimal(cost.total)}"'
        price_id = "null" if cost.price_id is None else cost.price_id
        return (
            f'{{"model":{_encode_text(cost.model)},"at":{_encode_time(cost.at)},"currency":{_encode_text(cost.currency)},"total":{total},'
            f'"complete":{"true" if cost.complete else "false"},"price_id":{price_id},"price_state":"{cost.price_state}",'
            f'"service_tier":"{cost.service_tier}","lines":[{",".join(lines)}],"missing":{_encode_text(cost.missing)}}}'
        )

    def _rate_fragment(self, rate: Rate) -> RateFragment:
        above = "null" if rate.above is None else rate.above
        text = f'"billed_as":"{rate.meter}","amount":"{format_decimal(rate.amount)}","per":{rate.per},"above":{above},"cost":"'
        fragment = RateFragment(rate, text)
        if len(self._fragments) < MAX_CACHED_BODIES:
            self._fragments[id(rate)] = fragment
        return fragment


def _patterns_by_ref(snapshot: Snapshot) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pattern, ref in snapshot.catalog.patterns:
        found.setdefault(ref, []).append(pattern)
    return found


@lru_cache(maxsize=4_096)
def _encode_text(value: str | tuple[str, ...] | None) -> str:
    return encode(value).decode()


@lru_cache(maxsize=1_024)
def _encode_time(moment: datetime | None) -> str:
    return "null" if moment is None else f'"{format_timestamp(moment)}"'


_latest: weakref.WeakKeyDictionary[ModelRegistry, EncodedRegistry] = weakref.WeakKeyDictionary()


def request_registry() -> EncodedRegistry:
    """For the snapshot that is served just now, as the project of the token sees it."""
    token = g.get("token")
    return encode_registry(container.registry()).project_view(token.project if token else None)


def unscoped_registry() -> EncodedRegistry:
    """The same without any project's rules: for managing rows, which are everybody's."""
    return encode_registry(container.registry())


def encode_registry(registry: ModelRegistry) -> EncodedRegistry:
    """For the snapshot that this registry serves just now."""
    snapshot = registry.snapshot
    found = _latest.get(registry)
    if found is None or found.snapshot is not snapshot:
        found = _latest[registry] = EncodedRegistry(snapshot)
    return found
