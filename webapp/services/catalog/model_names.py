"""Names of models: which are taken, and which need a confirmation."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.domain.catalog.name_changes import ModelNames, find_name_changes, names_confirmations, similar_id_confirmations
from webapp.domain.shared.errors import Confirmation, Conflict, FieldError, require_confirmed
from webapp.models import Price, Run, UsageRecord
from webapp.services.audit import audit_log
from webapp.services.catalog.name_book import NameBook
from webapp.services.catalog.registry_batch import open_batch, read_name_book

RECENT_PERIOD = timedelta(days=30)
WATCHED = "names_watched"


def require_free_id(names: NameBook, provider_slug: str, model_id: str, own_key: object) -> None:
    """Raise `Conflict` if the id is that of another model of this provider, or an alias of one."""
    same_id = names.get_or_none(f"{provider_slug}/{model_id}")
    if same_id is not None and same_id.key != own_key:
        raise Conflict("This provider already has a model of that id.", [FieldError("model_id", "is taken")], code="duplicate")
    holder = names.holder_or_none(model_id)
    if holder is not None and holder.provider == provider_slug and holder.key != own_key:
        message = "is another name of another model of this provider"
        raise Conflict(f"{model_id} {message}.", [FieldError("model_id", message)], code="duplicate")


def list_taken_aliases(names: NameBook, aliases: Iterable[str], own_key: object) -> list[str]:
    """Return the aliases that already lead to another model. The bare id of an inactive model is free: it yields to an active model."""
    return [alias for alias in aliases if names.holder_or_none(alias) is not None or _is_name_of_another(names, alias, own_key)]


def _is_name_of_another(names: NameBook, name: str, own_key: object) -> bool:
    same_ref = names.get_or_none(name)
    is_ref = same_ref is not None and same_ref.key != own_key
    return is_ref or any(model.active and model.key != own_key for model in names.with_id(name))


def list_confirmations(session: Session, provider_slug: str, model_id: str) -> list[Confirmation]:
    """Return what a person must confirm before a model of this provider gets this id."""
    with open_batch(session) as batch:
        return similar_id_confirmations(model_id, batch.names.similar_ids(provider_slug, model_id))


def list_similar_ids(ids: Iterable[tuple[str, str]], added: Iterable[tuple[str, str]]) -> list[Confirmation]:
    """Return the same for many models at once. Both arguments are pairs of provider and model id."""
    known: dict[tuple[str, str], list[str]] = defaultdict(list)
    for provider, model_id in ids:
        known[provider, model_id.lower()].append(model_id)
    confirmations: list[Confirmation] = []
    for provider, model_id in added:
        similar = known[provider, model_id.lower()]
        confirmations += similar_id_confirmations(model_id, similar)
        similar.append(model_id)
    return confirmations


def confirmed_values(confirmations: Sequence[Confirmation]) -> dict[str, Any]:
    """Return what the audit log keeps of confirmations."""
    return {"confirmed": [confirmation.message for confirmation in confirmations]} if confirmations else {}


# Names in use keep their meaning.


@contextmanager
def keep_meanings(session: Session, confirmed: Collection[str] = (), *, changes_names: bool = True) -> Iterator[list[Confirmation]]:
    """Require a confirmation if the block gives names in use another meaning, and for what the block adds to the yielded list.

    After the block, the list holds all of its confirmations. Raises `ConfirmationRequired`.
    """
    with collect_confirmations(session, changes_names=changes_names) as confirmations:
        yield confirmations
    require_confirmed(confirmations, confirmed)


@contextmanager
def collect_confirmations(session: Session, *, changes_names: bool = True) -> Iterator[list[Confirmation]]:
    """Add a confirmation to the yielded list if the block gives names in use another meaning.

    In nested blocks, only the outermost one compares the names. The caller has locked the registry.
    """
    confirmations: list[Confirmation] = []
    if session.info.get(WATCHED) or not changes_names:
        yield confirmations
    else:
        session.info[WATCHED] = True
        try:
            with open_batch(session) as batch:
                before = batch.names.all_names()
                yield confirmations
                confirmations += list_names_confirmations(session, before, batch.names.all_names(), batch.newly_priced_refs())
        finally:
            session.info.pop(WATCHED)


@contextmanager
def confirmed_before(session: Session) -> Iterator[None]:
    """Compare no names in the block, which is a part of a larger change that was confirmed at its start."""
    session.info[WATCHED] = True
    try:
        yield
    finally:
        session.info.pop(WATCHED)


def read_names(session: Session) -> list[ModelNames]:
    """Return the names of all models."""
    session.flush()
    return read_name_book(session).all_names()


def list_names_confirmations(
    session: Session, before: Sequence[ModelNames], after: Sequence[ModelNames], newly_priced: Collection[str] = ()
) -> list[Confirmation]:
    """Return the confirmation for the names in use that get another meaning, those with the most calls first.

    `newly_priced` has the refs of models that get a price in the same change.

    A name is in use if it is an alias of an active model, if it leads to an active model that has a price, or if the model was called
    recently. So models of one id can be entered one after the other without questions before anything can depend on them.
    """
    changes = find_name_changes(before, after)
    calls = _count_recent_calls(session, {change.before for change in changes})
    active = {change.before for change in changes if change.active}
    priced = _list_priced(session, before, active) | set(newly_priced) & active
    aliased = {(model.ref, alias) for model in before if model.ref in active for alias in model.aliases}
    in_use = [change for change in changes if change.before in priced or (change.before, change.name) in aliased or calls[change.before]]
    counted = [replace(change, recent_calls=calls[change.before]) for change in in_use]
    return names_confirmations(sorted(counted, key=lambda change: -change.recent_calls))


def _list_priced(session: Session, models: Sequence[ModelNames], refs: Collection[str]) -> set[str]:
    """Return the refs of those of these models that have a price."""
    ids: dict[Any, str] = {model.key: model.ref for model in models if model.ref in refs}
    return {ids[row_id] for row_id in session.execute(select(Price.model_id).where(Price.model_id.in_(ids)).distinct()).scalars()}


def _count_recent_calls(session: Session, refs: Collection[str]) -> Counter[str]:
    """Return the number of reported calls and runs of these models in the last 30 days."""
    since, counts = audit_log.now() - RECENT_PERIOD, Counter[str]()
    for table, timestamp in ((UsageRecord, UsageRecord.at), (Run, Run.created_at)):
        query = select(table.model_ref, func.count()).where(table.model_ref.in_(refs), timestamp >= since).group_by(table.model_ref)
        counts.update({ref: count for ref, count in session.execute(query) if ref})
    return counts
