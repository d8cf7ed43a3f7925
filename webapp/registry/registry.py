"""The model registry: one reference to an immutable snapshot, refreshed outside the calling thread (contract, section 3)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from webapp.domain.catalog import snapshot as snapshots
from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Catalog, ModelInfo
from webapp.domain.catalog.explanation import Explanation, explain
from webapp.domain.catalog.resolution import resolve, trace_resolution
from webapp.domain.catalog.snapshot import CONSTANTS, DATABASE, LAST_GOOD, Snapshot
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.pricing import price_at
from webapp.domain.pricing.service_tiers import STANDARD, parse_service_tier
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import DatabaseUnreachable, Invalid, UnknownModel
from webapp.observability.log_limits import RateLimitedLog
from webapp.registry.gc_pause import gc_pause
from webapp.registry.last_good import LastGoodCopy
from webapp.registry.loader import RevisionMark

log = logging.getLogger(__name__)
# An older revision that lasts this long counts as a restored backup and not as one late response.
SETTLE_TIME = timedelta(seconds=1)


class RegistrySource(Protocol):
    """The source of the registry's rows. Both methods raise `DatabaseUnreachable`."""

    def read_revision(self) -> RevisionMark: ...

    def load(self) -> Catalog: ...


class CopyStore(Protocol):
    """The store of the last-good copy."""

    def save(self, catalog: Catalog, as_of: datetime) -> None: ...

    def load(self) -> LastGoodCopy | None: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def this_second() -> datetime:
    """Return the current time without its fraction.

    It is created once a second, because creating it takes as long as pricing three meters.
    """
    return _second(int(time.time()))


@lru_cache(maxsize=8)
def _second(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


class ModelRegistry:
    """Serves models and costs from memory. It is thread-safe and never uses the database on the calling thread.

    Times are in seconds. A change of the revision is detected within `poll`. After `ttl`, the rows are read again even without a change.
    """

    def __init__(
        self, source: RegistrySource, copies: CopyStore, *, ttl: float = 300.0, poll: float = 0.25, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._source, self._copies, self._clock = source, copies, clock
        self._this_second = this_second if clock is utc_now else lambda: clock().replace(microsecond=0)
        self._ttl, self.poll = ttl, poll
        self._rebuild_lock = threading.Lock()
        self._unsaved_copy: LastGoodCopy | None = None
        self.snapshot: Snapshot = snapshots.build(constants(), now=clock(), source=CONSTANTS)
        self.loaded = False
        self._confirmed_at = self.snapshot.as_of
        self._older_since: datetime | None = None
        self.outage_log, self._outage_logged = RateLimitedLog(), False

    # Queries. Each method reads `self.snapshot` once, so that each result comes from one state of the registry.

    def get_model(self, ref: str) -> ModelInfo | None:
        """Return the model that this ref names, active or not, or None. Raises `AmbiguousModel` with the candidates."""
        snapshot = self.snapshot
        try:
            return snapshot.by_name[ref]
        except KeyError:
            return _resolve_or_none(snapshot, ref)

    def resolve(self, ref: str) -> ModelInfo:
        """Return the model that this ref names. Raises `UnknownModel` with suggestions, or `AmbiguousModel`."""
        snapshot = self.snapshot
        return snapshot.by_name.get(ref) or resolve(snapshot.names, ref)

    def get_models_by_type(self, model_type: str) -> tuple[ModelInfo, ...]:
        """Return the active models of this type, in display order."""
        return self.snapshot.by_type.get(model_type, ())

    def get_models_by_provider(self, *slugs: str) -> dict[str, tuple[ModelInfo, ...]]:
        """Return the active models of each of these providers, in display order, all from one snapshot."""
        by_provider = self.snapshot.by_provider
        return {slug: by_provider.get(slug, ()) for slug in slugs}

    def get_default_model(self, model_type: str = "text") -> ModelInfo | None:
        return self.snapshot.defaults.get(model_type)

    def is_model_supported(self, ref: str) -> bool:
        """Return whether the ref names an active, unretired model of an active provider. An ambiguous ref is not supported."""
        snapshot = self.snapshot
        if ref in snapshot.supported:
            return True
        if ref in snapshot.by_name:
            return False
        models, _ = trace_resolution(snapshot.names, ref)
        return len(models) == 1 and models[0].supported

    def calculate_cost(  # noqa: PLR0913 # the contract's signature: the three counts of seed 002, or a `Usage`
        self,
        ref: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        image_count: int = 0,
        *,
        usage: Usage | None = None,
        at: datetime | None = None,
        service_tier: str = STANDARD,
        attributes: Mapping[str, str] | None = None,
    ) -> Cost:
        """Return the exact cost of a usage on this model at `at` (default: now).

        Raises `UnknownModel`, `AmbiguousModel` or `Invalid`. An unknown price is no error: `total` is None and `complete` is false.
        """
        snapshot = self.snapshot
        model = snapshot.by_name.get(ref) or resolve(snapshot.names, ref)
        if usage is None:
            usage = Usage(input=input_tokens, output=output_tokens, image=image_count)
        effective_at = self._this_second() if at is None else _require_aware(at)
        price = price_at(model.prices, effective_at)
        tier = STANDARD if service_tier == STANDARD else parse_service_tier(service_tier)
        return cost_of(price, usage, at=effective_at, service_tier=tier, attributes=attributes, model=model.ref)

    def explain(self, ref: str, at: datetime | None = None) -> Explanation:
        """Explain, step by step, how the ref resolves to a model and a price, or why it does not."""
        return explain(self.snapshot.names, ref, self._this_second() if at is None else _require_aware(at))

    # Refreshing the snapshot.

    def refresh(self) -> Snapshot:
        """Check the database once and load changes. Never raises: an unreachable database changes only the label."""
        with self._rebuild_lock:
            try:
                self._apply_revision(self._source.read_revision())
            except DatabaseUnreachable as error:
                self._handle_outage(error.detail)
            except Exception as error:  # Invalid rows, perhaps changed by hand: the last good snapshot stays in use.
                self._handle_outage(f"its rows cannot be read ({type(error).__name__})")
            self._rebuild_if_expired()
            self.loaded = True
            return self.snapshot

    def _apply_revision(self, mark: RevisionMark) -> None:
        now, current = self._clock(), self.snapshot
        known = RevisionMark(current.catalog.instance, current.revision)
        confirmed = current.source == DATABASE or (current.source == CONSTANTS and self.loaded)
        if mark.instance == known.instance and mark.revision < known.revision and not self._is_settled(mark, now):
            return
        self._older_since = None
        if self.loaded and mark == known and confirmed and (now - current.as_of).total_seconds() < self._ttl:
            self._confirmed_at = now
            return
        with gc_pause:
            self._rebuild(now)
        if self._outage_logged:
            log.info("the database answers again, at revision %d", self.snapshot.revision)
            self._outage_logged = False

    def _rebuild(self, now: datetime) -> None:
        catalog = self._source.load()
        self._confirmed_at = now
        if catalog.models:
            self.snapshot = snapshots.build(catalog, now=now, source=DATABASE)
            self._unsaved_copy = LastGoodCopy(catalog, now)
        else:
            self.snapshot = snapshots.build(_constants_for(catalog), now=now, source=CONSTANTS)

    def save_copy(self) -> None:
        """Write the last-good copy if it is out of date.

        Call it only from the refresher thread, so that no other thread waits for the disk.
        """
        with self._rebuild_lock:
            unsaved, self._unsaved_copy = self._unsaved_copy, None
        if unsaved is not None:
            with gc_pause:
                self._copies.save(unsaved.catalog, unsaved.as_of)

    def _is_settled(self, mark: RevisionMark, now: datetime) -> bool:
        """Return whether an older revision has lasted, which means a restored backup and not one late response."""
        if self._older_since is None:
            self._older_since = now
        settled = now - self._older_since >= SETTLE_TIME
        if settled:
            log.warning("the database went back from revision %d to %d: it was restored", self.snapshot.revision, mark.revision)
        return settled

    def _handle_outage(self, reason: str) -> None:
        current = self.snapshot
        self._older_since = None
        if current.source == DATABASE:
            self._log_outage("the database does not answer; serving the last good registry, revision %d: %s", current.revision, reason)
            self.snapshot = snapshots.relabel(current, LAST_GOOD, self._confirmed_at)
        elif not self.loaded and (copy := self._copies.load()):
            self._log_outage("the database does not answer; serving the copy of %s", copy.as_of.isoformat())
            self.snapshot = snapshots.build(copy.catalog, now=self._clock(), source=LAST_GOOD, as_of=copy.as_of)
        elif not self.loaded:
            self._log_outage("the database does not answer and there is no copy; serving the built-in constants")

    def _log_outage(self, message: str, *args: object) -> None:
        """Log at most once a minute, also when the connection keeps failing and recovering."""
        if self.outage_log.should_log():
            log.warning(message, *args)
            self._outage_logged = True

    def _rebuild_if_expired(self) -> None:
        """Rebuild the snapshot when a price starts or a model retires, because that changes results without a change of rows."""
        current, now = self.snapshot, self._clock()
        if not current.valid_from <= now < current.valid_until:
            self.snapshot = snapshots.build(current.catalog, now=now, source=current.source, as_of=current.as_of)


def _require_aware(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise Invalid.field("at", "must be a moment with its offset, such as datetime(2026, 11, 21, tzinfo=UTC)")
    return at


def _resolve_or_none(snapshot: Snapshot, ref: str) -> ModelInfo | None:
    try:
        return resolve(snapshot.names, ref)
    except UnknownModel:
        return None


def _constants_for(catalog: Catalog) -> Catalog:
    """Return the constants with the revision and tokens of an empty database."""
    built_in = constants()
    return Catalog(built_in.providers, built_in.models, catalog.tokens, (), catalog.instance, catalog.revision, catalog.key_check)
