"""Keys on the provider pages: their holders, their limits, and what uses them. No key is ever shown."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.admin.core.fields import parse_whole_number
from webapp.admin.core.formatters import time_tag
from webapp.admin.core.lists import ChangeResult, RowsView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.credentials.key_access import PERSONAL, PROJECT, SHARED, Access
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.models import ApiToken, Credential, Model, Provider
from webapp.runtime import container
from webapp.services.credentials import credentials, endpoints, key_access
from webapp.services.credentials.credentials import Holder
from webapp.services.projects import projects
from webapp.web.auth import caller, has_permission

KEY_VIEWS = ("store_key", "limit_key", "remove_one_key")
KEY_SCOPE_LABELS = {SHARED: "Shared", PROJECT: "Project", PERSONAL: "Personal"}


class ProviderKeysMixin(RowsView):
    """Endpoints for keys. Only admins can enter, limit and remove keys."""

    @expose("/<id>/keys", methods=("POST",))
    def store_key(self, id: str) -> ResponseReturnValue:
        """Enter or replace the key of a project, or the shared key."""
        self.require_permission(can_edit_keys())

        def run(session: Session) -> ChangeResult:
            provider = self.find_row(id)
            require_current_destination(provider)
            owner = request.form.get("owner", "").strip()[:200]
            holder = Holder(PROJECT, owner) if owner else credentials.SHARED_HOLDER
            key = request.form.get("api_key", "").strip()
            credentials.store(session, provider, key, vault=container.vault(), actor=self.actor(), holder=holder)
            return ChangeResult(f"The {'key of the project ' + owner if owner else 'shared key'} for {provider} was stored.", refresh=True)

        return self.apply_change(run)

    @expose("/<id>/keys/<credential_id>/limit", methods=("POST",))
    def limit_key(self, id: str, credential_id: str) -> ResponseReturnValue:
        self.require_permission(can_edit_keys())

        def run(session: Session) -> ChangeResult:
            credential = _find_key(session, self.find_row(id), credential_id)
            values: dict[str, object] = {
                "monthly_limit": parse_whole_number(request.form.get("monthly_limit")),
                "active": request.form.get("active") == "1",
            }
            if isinstance(values["monthly_limit"], str):
                raise Invalid.field("monthly_limit", "must be a whole number of calls; empty means no limit")
            credentials.set_limits(session, credential, values, actor=self.actor())
            return ChangeResult("What the key may do was saved.", refresh=True)

        return self.apply_change(run)

    @expose("/<id>/keys/<credential_id>/remove", methods=("POST",))
    def remove_one_key(self, id: str, credential_id: str) -> ResponseReturnValue:
        self.require_permission(can_edit_keys())

        def run(session: Session) -> ChangeResult:
            provider = self.find_row(id)
            credential = _find_key(session, provider, credential_id)
            holder = Holder(credential.scope, credential.owner)
            credentials.remove(session, provider, actor=self.actor(), holder=holder)
            return ChangeResult(f"The key ({holder}) of {provider} was removed.", refresh=True)

        return self.apply_change(run)


def key_destination(provider: Provider) -> str:
    """Return the only origin that a key entered now would be sent to, or an empty string."""
    return endpoints.origin_of(provider, container.settings().environment) or ""


def require_current_destination(provider: Provider) -> None:
    """Raise `Conflict` if the destination on the page is outdated.

    An editor who moves the provider while the key is typed must not receive the key.
    """
    destination = key_destination(provider)
    if request.form.get("address", "") != destination:
        raise Conflict(f"{provider} leads to {destination or 'no address'} now, not where the page said. Nothing was stored: look again.")


def can_edit_keys() -> bool:
    return has_permission(Permission.CREDENTIALS_WRITE)


def _find_key(session: Session, provider: Provider, credential_id: str) -> Credential:
    credential = (
        session.get(Credential, int(credential_id))
        if credential_id.isascii() and credential_id.isdigit() and len(credential_id) < 16
        else None
    )
    if credential is None or credential.provider_id != provider.id:
        raise NotFound("There is no such key. It may have been removed meanwhile.")
    return credential


def keys_card(provider: Provider) -> dict[str, Any]:
    """Return the contents of the keys card: the key that the current user would use, and all stored keys."""
    session = db.session()
    access = key_access.decide_access(session, provider, caller(), container.settings().environment)
    stored = [_key_view_model(session, key, access) for key in credentials.list_by_provider(session, provider)]
    unreadable = container.vault().locked or any(key["in_use"] and key["lost"] for key in stored)
    usable = access.available and not (access.key is not None and unreadable)
    return {
        "address": key_destination(provider),
        "mine": access.reason if usable or not access.available else "The key that would be used for you cannot be read just now.",
        "available": usable,
        "stored": stored,
        "projects": [project.slug for project in projects.list_all(session)],
        "used_by": _used_by(session, provider),
        "allow_personal": provider.allow_personal_keys,
        "locked": container.vault().reason,
    }


def _key_view_model(session: Session, key: Credential, access: Access) -> dict[str, Any]:
    calls = key_access.count_calls(session, key.id)
    return {
        "id": key.id,
        "scope": KEY_SCOPE_LABELS[key.scope],
        "owner": key.owner,
        "last_four": key.last_four,
        "fingerprint": key.fingerprint,
        "entered": time_tag(key.created_at),
        "last_used": time_tag(key.last_used_at) if key.last_used_at else None,
        "origin": key.origin,
        "expires": time_tag(key.expires_at) if key.expires_at else None,
        "limit": key.monthly_limit,
        "used": calls,
        "active": key.is_active,
        "lost": container.vault().lacks_key(key.key_id),
        "in_use": access.available and access.key is not None and access.key.id == key.id,
    }


def _used_by(session: Session, provider: Provider) -> list[str]:
    """List what would be affected if the keys were removed."""
    active = select(func.count()).select_from(Model).where(Model.provider_id == provider.id, Model.is_active)
    models = session.execute(active).scalar_one()
    owners = [key.owner for key in credentials.list_by_provider(session, provider) if key.scope == PROJECT]
    tokens = select(func.count()).select_from(ApiToken).where(ApiToken.project.in_(owners), ApiToken.revoked_at.is_(None))
    token_count = session.execute(tokens).scalar_one()
    users = [f"{models:,} active model{'s' if models != 1 else ''}"] if models else []
    users += ["incidents where nobody chose a model (primary provider)"] if provider.is_primary else []
    return users + ([f"{token_count} API token{'s' if token_count != 1 else ''} of its projects"] if token_count else [])
