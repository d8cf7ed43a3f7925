"""Models: creating, editing, activating, defaults and aliases. Each function changes the session and writes the audit event."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from webapp.domain.catalog.input_schemas import validate_model, validate_new_names
from webapp.domain.shared.errors import Confirmation, Conflict, FieldError, InUse, Invalid, NotFound, Stale
from webapp.models import MAX_ID, Model, ModelAlias, Provider
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names
from webapp.services.catalog.model_names import confirmed_values
from webapp.services.catalog.registry_batch import Batch, open_batch
from webapp.services.catalog.successors import require_no_loop

# Entry fields whose columns have other names. `provider`, `aliases` and `default` are handled separately.
COLUMNS: Mapping[str, str] = {"active": "is_active"}
NAME_FIELDS = ("provider", "model_id", "aliases", "successor")  # A change of these can close a chain of successors.
RESOLVED_FIELDS = ("provider", "model_id", "aliases", "active")  # A change of these can give names another meaning.
RELATION_FIELDS = ("provider", "aliases", "default")


def find(session: Session, model_id: int, *, version: int | None = None) -> Model:
    """Return the row, locked for a change. Raises `NotFound`, or `Stale` if `version` is not the current one."""
    model = session.get(Model, model_id, with_for_update=True, populate_existing=True) if model_id <= MAX_ID else None
    if model is None:
        raise NotFound("There is no such model.")
    if version is not None and model.version != version:
        raise Stale("Somebody else changed this model meanwhile. Look at the change, and save again.")
    return model


def create(session: Session, values: Mapping[str, object], *, actor: str, confirmed: Collection[str] = ()) -> Model:
    """Add a model. Raises `Invalid`, `Conflict` if its id or an alias is taken, or `ConfirmationRequired`.

    `confirmed` holds the keys of the confirmations. In an open batch, the model has no id before the batch stores it.
    """
    entry = validate_model(values, partial=False)
    validate_new_names(entry)
    revision.bump(session)
    with open_batch(session) as batch:
        provider = _require_provider(batch, entry["provider"])
        model_names.require_free_id(batch.names, provider.slug, entry["model_id"], None)
        with model_names.keep_meanings(session, confirmed) as confirmations:
            confirmations += model_names.list_confirmations(session, provider.slug, entry["model_id"])
            model = Model(provider=provider, is_default=False, **_as_columns(entry))
            _set_aliases(batch, model, entry["aliases"])
            session.add(model)
            batch.put_names(model)
        if batch.checks_successors:
            require_no_loop(batch.names, model.ref)
        after = audit_values(model) | confirmed_values(confirmations)
        audit_log.record(session, "registry:model:create", actor=actor, target=partial(target, model), change=AuditChange(None, after))
        if entry["default"]:
            _make_default(session, batch, model, actor)
    return model


def update(  # noqa: PLR0913 # the usual parameters
    session: Session,
    model_id: int,
    values: Mapping[str, object],
    *,
    actor: str,
    version: int | None = None,
    confirmed: Collection[str] = (),
) -> Model:
    """Change the named fields. Raises `InUse` if that would deactivate a default. `confirmed` is that of `create`."""
    validate_model(values, partial=True)
    revision.bump(session)
    return change(session, find(session, model_id, version=version), values, actor=actor, confirmed=confirmed)


def change(session: Session, model: Model, values: Mapping[str, object], *, actor: str, confirmed: Collection[str] = ()) -> Model:
    """Change the named fields of a row, like `update`."""
    entry = validate_model(values, partial=True)
    revision.bump(session)
    changes_names = not entry.keys().isdisjoint(RESOLVED_FIELDS)
    changes_successors = not entry.keys().isdisjoint(NAME_FIELDS)
    with open_batch(session) as batch:
        before = audit_values(model)
        validate_new_names(entry, {model.model_id, *before["aliases"]})
        with model_names.keep_meanings(session, confirmed, changes_names=changes_names) as confirmations:
            confirmations += _require_valid_edit(session, batch, model, entry)
            _set_values(batch, model, entry)
            if changes_names or changes_successors:
                batch.put_names(model)
        if batch.checks_successors and changes_successors:
            require_no_loop(batch.names, model.ref)
        after = audit_values(model) | confirmed_values(confirmations)
        audit_log.record(session, "registry:model:update", actor=actor, target=partial(target, model), change=AuditChange(before, after))
        if entry.get("default") and not model.is_default:
            _make_default(session, batch, model, actor)
    return model


def _set_values(batch: Batch, model: Model, entry: Mapping[str, Any]) -> None:
    if "provider" in entry:
        model.provider = _require_provider(batch, entry["provider"])
    for name, value in _as_columns(entry).items():
        setattr(model, name, value)
    if "aliases" in entry:
        _set_aliases(batch, model, entry["aliases"])
    _touch(model)
    if entry.get("default") is False:
        _clear_default(batch, model)


def _require_valid_edit(session: Session, batch: Batch, model: Model, entry: Mapping[str, Any]) -> list[Confirmation]:
    """Return what a person must confirm. Raises `Conflict` for an edit that is not possible."""
    provider = _require_provider(batch, entry["provider"]) if "provider" in entry else model.provider
    confirmations: list[Confirmation] = []
    if (provider.id, model_id := entry.get("model_id", model.model_id)) != (model.provider_id, model.model_id):
        model_names.require_free_id(batch.names, provider.slug, model_id, batch.key_of(model))
        confirmations = model_names.list_confirmations(session, provider.slug, model_id)
    stays_default = model.is_default and entry.get("default", True)
    if stays_default and not provider.is_active:
        raise Conflict(f"{provider.display_name} is inactive, so none of its models can be the default.", code="inactive")
    if stays_default and entry.get("active") is False:
        raise _default_in_use(model)
    if stays_default and entry.get("type", model.type) != model.type:
        raise InUse(f"{model.display_name} is the default for {model.type}. Choose another default first.", [f"default for {model.type}"])
    return confirmations


def delete(session: Session, model_id: int, *, actor: str, version: int | None = None, confirmed: Collection[str] = ()) -> None:
    """Delete an unused model. Raises `InUse`, or `ConfirmationRequired` if one of its names passes to another model.

    A model with prices must be deactivated instead, because prices are never deleted.
    """
    revision.bump(session)
    remove(session, find(session, model_id, version=version), actor=actor, confirmed=confirmed)


def remove(session: Session, model: Model, *, actor: str, confirmed: Collection[str] = ()) -> None:
    """Delete an unused row, like `delete`."""
    revision.bump(session)
    with open_batch(session) as batch:
        if model.is_default:
            raise _default_in_use(model)
        if users := list_references(session, model):
            raise InUse(f"{model.display_name} is used: {users[0]}. Deactivate it instead.", users)
        before, subject = audit_values(model), target(model)
        with model_names.keep_meanings(session, confirmed) as confirmations:
            session.delete(model)
            batch.names.remove(model.id)
        after = confirmed_values(confirmations) or None
        audit_log.record(session, "registry:model:delete", actor=actor, target=subject, change=AuditChange(before, after))


def list_references(session: Session, model: Model, *, with_prices: bool = True) -> list[str]:
    """Describe what depends on this model. Its own prices also prevent deletion."""
    with open_batch(session) as batch:
        price_count, slugs = batch.references_of(model)
        names = batch.names.get_or_none(model.ref)
        predecessors = batch.names.predecessors(names) if names is not None else []
    references = [f"{price_count:,} price{'' if price_count == 1 else 's'} in its history"] if price_count and with_prices else []
    references += [f"rule of the project {slug}" for slug in slugs]
    return references + [f"successor of {predecessor}" for predecessor in predecessors]


def set_active(  # noqa: PLR0913 # the usual parameters
    session: Session, model_id: int, active: bool | None = None, *, actor: str, version: int | None = None, confirmed: Collection[str] = ()
) -> Model:
    """Activate or deactivate a model, or toggle it if `active` is None. Raises `InUse` for a default, or `ConfirmationRequired`."""
    revision.bump(session)
    model = find(session, model_id, version=version)
    set_active_rows(session, [model], not model.is_active if active is None else active, actor=actor, confirmed=confirmed)
    return model


def set_active_many(session: Session, ids: Sequence[int], active: bool, *, actor: str, confirmed: Collection[str] = ()) -> int:
    """Activate or deactivate all of these models or none, and return the number of changed models. Raises like `set_active`."""
    revision.bump(session)
    models = [find(session, model_id) for model_id in ids]
    changed = [model for model in models if model.is_active != active]
    set_active_rows(session, changed, active, actor=actor, confirmed=confirmed)
    return len(changed)


def set_active_rows(session: Session, models: Sequence[Model], active: bool, *, actor: str, confirmed: Collection[str] = ()) -> None:
    """Activate or deactivate these rows. Raises like `set_active`."""
    revision.bump(session)
    if not active and (default := next((model for model in models if model.is_default), None)):
        raise _default_in_use(default)
    before = [audit_values(model) for model in models]
    with open_batch(session) as batch:
        with model_names.keep_meanings(session, confirmed) as confirmations:
            for model in models:
                model.is_active = active
                batch.put_names(model)
        action = "registry:model:activate" if active else "registry:model:deactivate"
        for model, values in zip(models, before, strict=True):
            after = audit_values(model) | confirmed_values(confirmations)
            audit_log.record(session, action, actor=actor, target=target(model), change=AuditChange(values, after))


def set_default(session: Session, model_id: int, *, actor: str) -> Model:
    """Make this the default of its type, in place of the current one. Raises `Conflict` if it is inactive."""
    revision.bump(session)
    with open_batch(session) as batch:
        return _make_default(session, batch, find(session, model_id), actor)


def _make_default(session: Session, batch: Batch, model: Model, actor: str) -> Model:
    if not model.is_active or not model.provider.is_active:
        raise Conflict(f"{model.display_name} or its provider is inactive. Activate it before it becomes the default.", code="inactive")
    previous = batch.defaults.get(model.type)
    previous = None if previous is model else previous
    if previous is not None:
        previous.is_default = False
        batch.flush()  # Flush before setting another one, because the index allows only one.
    model.is_default = True
    batch.defaults[model.type] = model
    change = AuditChange({"default": previous.ref if previous else None}, {"default": model.ref})
    audit_log.record(session, "registry:model:set_default", actor=actor, target=partial(target, model), change=change)
    return model


def _clear_default(batch: Batch, model: Model) -> None:
    if model.is_default:
        model.is_default = False
        batch.defaults.pop(model.type, None)


def _require_provider(batch: Batch, slug: str) -> Provider:
    provider = batch.providers.get(slug)
    if provider is None:
        raise Invalid.field("provider", f"must be the slug of an existing provider, not {slug}")
    return provider


def _set_aliases(batch: Batch, model: Model, aliases: Sequence[str]) -> None:
    current = {alias.alias: alias for alias in model.aliases}
    new = [alias for alias in aliases if alias not in current]
    if taken := model_names.list_taken_aliases(batch.names, new, batch.key_of(model)) if new else []:
        errors = [FieldError("aliases", f"{alias} is already a name of another model") for alias in taken]
        raise Conflict(f"The alias {taken[0]} already leads to another model.", errors, code="duplicate")
    if not batch.freed_aliases.isdisjoint(new):
        batch.flush()  # Delete the alias of the other model first, because an alias is unique.
    for alias in new:
        model.aliases.append(ModelAlias(alias=alias, is_pattern="*" in alias or "?" in alias))
    for alias, row in current.items():
        if alias not in aliases:
            model.aliases.remove(row)
            batch.freed_aliases.add(alias)


def _as_columns(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {COLUMNS.get(name, name): value for name, value in entry.items() if name not in RELATION_FIELDS}


def _touch(model: Model) -> None:
    """Make a change of aliases alone change the row's version too."""
    model.updated_at = audit_log.now()


def _default_in_use(model: Model) -> InUse:
    return InUse(f"{model.display_name} is the default for {model.type}. Choose another default first.", [f"default for {model.type}"])


def target(model: Model) -> Target:
    return Target("model", model.id, model.ref)


def audit_values(model: Model) -> dict[str, Any]:
    """Return a model's values for the audit log."""
    return {
        "provider": model.provider.slug,
        "model_id": model.model_id,
        "display_name": model.display_name,
        "type": model.type,
        "capabilities": list(model.capabilities),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "active": model.is_active,
        "default": model.is_default,
        "aliases": sorted(alias.alias for alias in model.aliases),
        "sort_order": model.sort_order,
        "released_on": _date_text(model.released_on),
        "deprecated_on": _date_text(model.deprecated_on),
        "retires_on": _date_text(model.retires_on),
        "successor": model.successor,
        "description": model.description,
        "quirks": model.quirks,
    }


def _date_text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
