"""The part of the providers' pages that is about keys: whose there are, what they may do, and what uses them. No key is ever shown."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.admin.core.fields import whole
from webapp.admin.core.formatters import when
from webapp.admin.core.lists import Done, RowsView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.credentials.key_access import PERSONAL, PROJECT, SHARED, Access
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.models import ApiToken, Credential, Model, Provider
from webapp.runtime import container
from webapp.services.credentials import credentials, endpoints, key_access
from webapp.services.credentials.credentials import Holder
from webapp.services.projects import projects
from webapp.web.auth import caller, staff_may

KEY_VIEWS = ("store_key", "limit_key", "remove_one_key")
SCOPE_WORDS = {SHARED: "Shared", PROJECT: "Project", PERSONAL: "Personal"}


class KeysPart(RowsView):
    """Endpoints for keys: only admins enter, limit and remove them."""

    @expose("/<id>/keys", methods=("POST",))
    def store_key(self, id: str) -> ResponseReturnValue:
        """Enters or replaces the key of a project, or the shared one."""
        self.insist(may_key())

        def run(session: Session) -> Done:
            provider = self.row(id)
            insist_on_address(provider)
            owner = request.form.get("owner", "").strip()[:200]
            holder = Holder(PROJECT, owner) if owner else credentials.EVERYBODY
            key = request.form.get("api_key", "").strip()
            credentials.store(session, provider, key, vault=container.vault(), actor=self.actor(), holder=holder)
            return Done(f"The {'key of the project ' + owner if owner else 'shared key'} for {provider} was stored.", refresh=True)

        return self.change(run)

    @expose("/<id>/keys/<credential_id>/limit", methods=("POST",))
    def limit_key(self, id: str, credential_id: str) -> ResponseReturnValue:
        self.insist(may_key())

        def run(session: Session) -> Done:
            found = _of(session, self.row(id), credential_id)
            values: dict[str, object] = {
                "monthly_limit": whole(request.form.get("monthly_limit")),
                "active": request.form.get("active") == "1",
            }
            if isinstance(values["monthly_limit"], str):
                raise Invalid.field("monthly_limit", "must be a whole number of calls; empty means no limit")
            credentials.limit(session, found, values, actor=self.actor())
            return Done("What the key may do was saved.", refresh=True)

        return self.change(run)

    @expose("/<id>/keys/<credential_id>/remove", methods=("POST",))
    def remove_one_key(self, id: str, credential_id: str) -> ResponseReturnValue:
        self.insist(may_key())

        def run(session: Session) -> Done:
            provider = self.row(id)
            found = _of(session, provider, credential_id)
            holder = Holder(found.scope, found.owner)
            credentials.remove(session, provider, actor=self.actor(), holder=holder)
            return Done(f"The key ({holder}) of {provider} was removed.", refresh=True)

        return self.change(run)


def address_of(provider: Provider) -> str:
    """Where a key that is entered now would be sent, and nowhere else."""
    return endpoints.origin_of(provider, container.settings().environment) or ""


def insist_on_address(provider: Provider) -> None:
    """The page said where the key goes. An editor who moves the provider while somebody types shall not get it."""
    present = address_of(provider)
    if request.form.get("address", "") != present:
        raise Conflict(f"{provider} leads to {present or 'no address'} now, not where the page said. Nothing was stored: look again.")


def may_key() -> bool:
    return staff_may(Permission.CREDENTIALS_WRITE)


def _of(session: Session, provider: Provider, credential_id: str) -> Credential:
    found = (
        session.get(Credential, int(credential_id))
        if credential_id.isascii() and credential_id.isdigit() and len(credential_id) < 16
        else None
    )
    if found is None or found.provider_id != provider.id:
        raise NotFound("There is no such key. It may have been removed meanwhile.")
    return found


def keys_card(provider: Provider) -> dict[str, Any]:
    """Everything that the card about keys shows: which one answers for whoever looks, and all that there are."""
    session = db.session()
    found = key_access.access(session, provider, caller(), container.settings().environment)
    stored = [_shown(session, key, found) for key in credentials.every(session, provider)]
    unreadable = container.vault().locked or any(key["in_use"] and key["lost"] for key in stored)
    usable = found.available and not (found.key is not None and unreadable)
    return {
        "address": address_of(provider),
        "mine": found.reason if usable or not found.available else "The key that would be used for you cannot be read just now.",
        "available": usable,
        "stored": stored,
        "projects": [one.slug for one in projects.every(session)],
        "used_by": _used_by(session, provider),
        "allow_personal": provider.allow_personal_keys,
        "locked": container.vault().reason,
    }


def _shown(session: Session, key: Credential, found: Access) -> dict[str, Any]:
    used = key_access.calls(session, key.id)
    return {
        "id": key.id,
        "scope": SCOPE_WORDS[key.scope],
        "owner": key.owner,
        "last_four": key.last_four,
        "fingerprint": key.fingerprint,
        "entered": when(key.created_at),
        "last_used": when(key.last_used_at) if key.last_used_at else None,
        "origin": key.origin,
        "expires": when(key.expires_at) if key.expires_at else None,
        "limit": key.monthly_limit,
        "used": used,
        "active": key.is_active,
        "lost": container.vault().has_lost(key.key_id),
        "in_use": found.available and found.key is not None and found.key.id == key.id,
    }


def _used_by(session: Session, provider: Provider) -> list[str]:
    """What would notice if the keys were gone."""
    active = select(func.count()).select_from(Model).where(Model.provider_id == provider.id, Model.is_active)
    models = session.execute(active).scalar_one()
    owners = [key.owner for key in credentials.every(session, provider) if key.scope == PROJECT]
    tokens = select(func.count()).select_from(ApiToken).where(ApiToken.project.in_(owners), ApiToken.revoked_at.is_(None))
    count = session.execute(tokens).scalar_one()
    found = [f"{models:,} active model{'s' if models != 1 else ''}"] if models else []
    found += ["incidents where nobody chose a model (primary provider)"] if provider.is_primary else []
    return found + ([f"{count} API token{'s' if count != 1 else ''} of its projects"] if count else [])
