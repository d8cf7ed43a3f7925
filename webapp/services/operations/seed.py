"""Seed of the database from the constants: adds each provider and model once, and never overwrites edits or deletions by staff."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.builtin import catalog_document
from webapp.domain.catalog.input_schemas import PriceEntry, entry_from, validate_model, validate_provider
from webapp.domain.catalog.name_changes import ModelNames, find_name_changes
from webapp.domain.credentials.environment_keys import BINDINGS_SETTING, EnvironmentKeys
from webapp.domain.pricing.serializers import price_from
from webapp.domain.shared.errors import KeysLocked
from webapp.models import AuditEvent, Model, ModelAlias, Provider
from webapp.registry import revision
from webapp.security.vault import Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names
from webapp.services.credentials import credentials, endpoints
from webapp.services.pricing import prices

ACTION, ACTOR = "registry:catalog:seed", "seed"
# Fields of a seeded model that are handled separately.
SEPARATE_FIELDS = ("prices", "default")


@dataclass(slots=True)
class SeedResult:
    """The rows and keys that a seed added, with notes."""

    providers: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.providers or self.models or self.keys)


def seed(session: Session) -> SeedResult:
    """Add entries that are missing and were never seeded before. The revision increases only if something was added."""
    document, result = catalog_document(), SeedResult()
    seeded = _previously_seeded(session)
    providers = {provider.slug: provider for provider in session.execute(select(Provider)).scalars()}
    new_providers = [entry for entry in document["providers"] if entry["slug"] not in providers and entry["slug"] not in seeded]
    available = {*providers, *(entry["slug"] for entry in new_providers)}  # Excludes seeded providers that staff renamed or deleted.
    existing = {(slug, model_id) for slug, model_id in session.execute(select(Provider.slug, Model.model_id).join(Model.provider))}
    new_models = [
        entry
        for entry in document["models"]
        if entry["provider"] in available
        and (entry["provider"], entry["model_id"]) not in existing
        and f"{entry['provider']}/{entry['model_id']}" not in seeded
    ]
    if not new_providers and not new_models:
        return result
    revision.bump(session)
    for entry in new_providers:
        provider = _new_provider(entry)
        session.add(provider)
        providers[provider.slug] = provider
        result.providers.append(provider.slug)
    session.flush()
    before = model_names.read_names(session)
    _add_models(session, new_models, providers, result)
    _deactivate_competitors(session, before, result)
    source = document["source"]
    after = {"providers": result.providers, "models": result.models, "source": f"{source['name']} {source['version']}"}
    audit_log.record(
        session, ACTION, actor=ACTOR, target=Target("catalog", None, "the built-in catalogue"), change=AuditChange(None, after)
    )
    return result


def _previously_seeded(session: Session) -> set[str]:
    """Return the names of all entries that earlier seeds added, so that renamed or deleted ones are not added again."""
    names: set[str] = set()
    for after in session.execute(select(AuditEvent.after).where(AuditEvent.action == ACTION)).scalars():
        names.update(after["providers"], after["models"])
    return names


def _new_provider(entry: Mapping[str, Any]) -> Provider:
    values = validate_provider(dict(entry), partial=False)
    values["is_active"] = values.pop("active")
    return Provider(**values)


def _add_models(session: Session, entries: list[Mapping[str, Any]], providers: Mapping[str, Provider], result: SeedResult) -> None:
    names = _taken_names(session)
    defaults = set(session.execute(select(Model.type).where(Model.is_default)).scalars())
    for entry in entries:
        model = _new_model(entry, providers[entry["provider"]])
        for alias in entry["aliases"]:
            if alias in names:
                result.notes.append(f"alias {alias} already leads to another model")
            else:
                model.aliases.append(ModelAlias(alias=alias, is_pattern=False))
                names.add(alias)
        if entry["default"] and model.type not in defaults:
            model.is_default = True
            defaults.add(model.type)
        session.add(model)
        session.flush()
        session.add_all(prices.to_row(_price_entry(price), model, ACTOR) for price in entry["prices"])
        result.models.append(f"{entry['provider']}/{entry['model_id']}")


def _deactivate_competitors(session: Session, before: Sequence[ModelNames], result: SeedResult) -> None:
    """Deactivate added models that give names in use another meaning: no one has confirmed that."""
    for change in find_name_changes(before, model_names.read_names(session)):
        for ref in sorted(set(change.after) & set(result.models)):
            slug, _, model_id = ref.partition("/")
            query = select(Model).join(Model.provider).where(Provider.slug == slug, Model.model_id == model_id)
            model = session.execute(query).scalar_one()
            model.is_active = model.is_default = False
            result.notes.append(f"{ref} is inactive, because {change.name} is a name of {change.before}")
    session.flush()


def _taken_names(session: Session) -> set[str]:
    return {*session.execute(select(ModelAlias.alias)).scalars(), *session.execute(select(Model.model_id)).scalars()}


def _new_model(entry: Mapping[str, Any], provider: Provider) -> Model:
    values = validate_model({name: value for name, value in entry.items() if name not in SEPARATE_FIELDS}, partial=False)
    for name in ("provider", "aliases", "default"):
        values.pop(name)
    values["is_active"] = values.pop("active")
    return Model(provider=provider, **values)


def _price_entry(document: Mapping[str, Any]) -> PriceEntry:
    price = price_from(document)
    source = {"kind": "seed", "name": price.source.name, "url": price.source.url, "verified_at": price.source.verified_at}
    return entry_from(price, source, price.note)


def update_keys(session: Session, environment: EnvironmentKeys, *, vault: Vault, actor: str) -> SeedResult:
    """Copy the environment's keys into credentials. Empty keys and unchanged keys are skipped.

    A key is copied only to a provider whose base URL its binding allows. A note reports each key that was not copied for this reason.
    """
    result = SeedResult()
    for provider in session.execute(select(Provider).order_by(Provider.slug)).scalars():
        name = endpoints.key_variable(provider, environment)
        if name is None:
            if blocked := endpoints.blocked_key_variable(provider, environment):
                result.notes.append(
                    f"{provider.slug}: {blocked} is not copied, because {BINDINGS_SETTING} does not say that it may be sent to its address"
                )
            continue
        key = environment.value_of(name)
        if _is_stored(session, provider, key, vault):
            result.notes.append(f"{provider.slug}: the key of {name} is stored already")
            continue
        credentials.store(session, provider, key, vault=vault, actor=actor)
        result.keys.append(f"{provider.slug} from {name}")
    return result


def _is_stored(session: Session, provider: Provider, key: str, vault: Vault) -> bool:
    stored = credentials.get_shared_or_none(session, provider)
    if stored is None or stored.fingerprint != vault.fingerprint(key):
        return False
    try:
        return credentials.reveal(session, provider, vault=vault) == key
    except KeysLocked:
        return False  # The stored key cannot be decrypted, for example after a move, so it is stored again.
