"""Brings the catalogue of constants into the database: each provider and model once, never over what staff edited or removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.builtin import catalog_document
from webapp.domain.catalog.input_schemas import PriceEntry, validate_model, validate_provider
from webapp.domain.catalog.serializers import price_from
from webapp.domain.credentials.environment_keys import BINDINGS_SETTING, EnvironmentKeys
from webapp.domain.shared.errors import KeysLocked
from webapp.models import AuditEvent, Model, ModelAlias, Provider
from webapp.registry import revision
from webapp.security.vault import Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.credentials import credentials, endpoints
from webapp.services.pricing import prices

ACTION, ACTOR = "registry:catalog:seed", "seed"
# Fields of a seeded model that are not entered but handled on their own.
SEPARATE_FIELDS = ("prices", "default")


@dataclass(slots=True)
class SeedResult:
    """What a seeding added, or would add."""

    providers: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.providers or self.models or self.keys)


def seed(session: Session) -> SeedResult:
    """Adds what is missing and was never seeded before. Moves the revision only if something was added."""
    document, done = catalog_document(), SeedResult()
    seeded = _previously_seeded(session)
    providers = {provider.slug: provider for provider in session.execute(select(Provider)).scalars()}
    new_providers = [entry for entry in document["providers"] if entry["slug"] not in providers and entry["slug"] not in seeded]
    available = {*providers, *(entry["slug"] for entry in new_providers)}  # Not those that staff renamed or removed.
    known = {(slug, model_id) for slug, model_id in session.execute(select(Provider.slug, Model.model_id).join(Model.provider))}
    new_models = [
        entry
        for entry in document["models"]
        if entry["provider"] in available
        and (entry["provider"], entry["model_id"]) not in known
        and f"{entry['provider']}/{entry['model_id']}" not in seeded
    ]
    if not new_providers and not new_models:
        return done
    revision.bump(session)
    for entry in new_providers:
        provider = _new_provider(entry)
        session.add(provider)
        providers[provider.slug] = provider
        done.providers.append(provider.slug)
    session.flush()
    _add_models(session, new_models, providers, done)
    source = document["source"]
    after = {"providers": done.providers, "models": done.models, "source": f"{source['name']} {source['version']}"}
    audit_log.record(
        session, ACTION, actor=ACTOR, target=Target("catalog", None, "the built-in catalogue"), change=AuditChange(None, after)
    )
    return done


def _previously_seeded(session: Session) -> set[str]:
    """Everything that an earlier seeding added, so that what staff renamed or deleted since does not come back."""
    names: set[str] = set()
    for after in session.execute(select(AuditEvent.after).where(AuditEvent.action == ACTION)).scalars():
        names.update(after["providers"], after["models"])
    return names


def _new_provider(entry: Mapping[str, Any]) -> Provider:
    clean = validate_provider(dict(entry), partial=False)
    clean["is_active"] = clean.pop("active")
    return Provider(**clean)


def _add_models(session: Session, entries: list[Mapping[str, Any]], providers: Mapping[str, Provider], done: SeedResult) -> None:
    names = _taken_names(session)
    defaults = set(session.execute(select(Model.type).where(Model.is_default)).scalars())
    for entry in entries:
        model = _new_model(entry, providers[entry["provider"]])
        for alias in entry["aliases"]:
            if alias in names:
                done.notes.append(f"alias {alias} already leads to another model")
            else:
                model.aliases.append(ModelAlias(alias=alias, is_pattern=False))
                names.add(alias)
        if entry["default"] and model.type not in defaults:
            model.is_default = True
            defaults.add(model.type)
        session.add(model)
        session.flush()
        session.add_all(prices.to_row(_price_entry(price), model, ACTOR) for price in entry["prices"])
        done.models.append(f"{entry['provider']}/{entry['model_id']}")


def _taken_names(session: Session) -> set[str]:
    return {*session.execute(select(ModelAlias.alias)).scalars(), *session.execute(select(Model.model_id)).scalars()}


def _new_model(entry: Mapping[str, Any], provider: Provider) -> Model:
    clean = validate_model({name: value for name, value in entry.items() if name not in SEPARATE_FIELDS}, partial=False)
    for name in ("provider", "aliases", "default"):
        clean.pop(name)
    clean["is_active"] = clean.pop("active")
    return Model(provider=provider, **clean)


def _price_entry(document: Mapping[str, Any]) -> PriceEntry:
    price = price_from(document)
    source = {"kind": "seed", "name": price.source.name, "url": price.source.url, "verified_at": price.source.verified_at}
    return PriceEntry(price.state, price.effective_from, price.currency, price.rates, source, price.note, None)


def update_keys(session: Session, environment: EnvironmentKeys, *, vault: Vault, actor: str) -> SeedResult:
    """Copies the keys that the environment holds into credentials; empty ones are left out, equal ones left alone.

    A key goes only to providers whose address it may be sent to. Where one is named and not copied for that, a note says so.
    """
    done = SeedResult()
    for provider in session.execute(select(Provider).order_by(Provider.slug)).scalars():
        name = endpoints.key_variable(provider, environment)
        if name is None:
            if barred := endpoints.blocked_key_variable(provider, environment):
                done.notes.append(
                    f"{provider.slug}: {barred} is not copied, because {BINDINGS_SETTING} does not say that it may be sent to its address"
                )
            continue
        key = environment.value_of(name)
        if _is_stored(session, provider, key, vault):
            done.notes.append(f"{provider.slug}: the key of {name} is stored already")
            continue
        credentials.store(session, provider, key, vault=vault, actor=actor)
        done.keys.append(f"{provider.slug} from {name}")
    return done


def _is_stored(session: Session, provider: Provider, key: str, vault: Vault) -> bool:
    found = credentials.get_shared_or_none(session, provider)
    if found is None or found.fingerprint != vault.fingerprint(key):
        return False
    try:
        return credentials.reveal(session, provider, vault=vault) == key
    except KeysLocked:
        return False  # It cannot be read any more, for example after a move: it is stored anew.
