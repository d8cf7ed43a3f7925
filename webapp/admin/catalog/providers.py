"""Providers: the list with key states, the form with its write-only key, and the details page."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flask import flash, g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from webapp.admin.audit.event_text import target_events
from webapp.admin.catalog import provider_form
from webapp.admin.catalog.connection_tests import ConnectionTestMixin, check_view_model
from webapp.admin.catalog.provider_cells import CELLS, active_switch, description_list, has_key, key_state
from webapp.admin.core import edit_conflicts
from webapp.admin.core.confirmations import confirmed_keys
from webapp.admin.core.fields import version_of
from webapp.admin.core.filters import ChoiceFilter, YesNoFilter
from webapp.admin.core.flask_admin_adapter import get_form_data
from webapp.admin.core.lists import ChangeResult, requested_state
from webapp.admin.credentials.provider_keys import KEY_VIEWS, ProviderKeysMixin, can_edit_keys, keys_card
from webapp.admin.runs.model_choices import unavailable_reason
from webapp.domain.credentials.key_access import SHARED
from webapp.domain.shared.errors import Conflict, Forbidden, InUse, Invalid
from webapp.drivers import DRIVERS
from webapp.extensions import db
from webapp.models import Credential, Model, Provider
from webapp.models.text_search import contains_text
from webapp.runtime import container
from webapp.services.catalog import providers
from webapp.services.credentials import credentials
from webapp.services.runs import connection_tests

MAX_NAMED_USERS = 12


class Providers(ProviderKeysMixin, ConnectionTestMixin):
    """All providers: the vendor accounts and endpoints that serve the models."""

    table = Provider
    singular_name = "provider"
    purpose = "The accounts and endpoints that answer for your models."
    purpose_create = "An account at a vendor, or an endpoint of your own."
    purpose_edit = "Changes reach every worker within a second."
    empty_title = "No providers yet"
    empty_text = "A provider is an account at a vendor, or an endpoint of your own such as a local Ollama."
    list_template, details_template = "admin/catalog/providers/list.html", "admin/catalog/providers/details.html"
    column_list = ("display_name", "driver", "key", "check", "models", "base_url", "is_primary", "is_active")
    column_labels: ClassVar[dict[str, str]] = {
        "display_name": "Provider",
        "base_url": "Base URL",
        "is_primary": "Primary",
        "is_active": "Active",
        "check": "Connection",
    }
    column_descriptions: ClassVar[dict[str, str]] = {"is_primary": "Answers incidents where nobody chose a model; at most one"}
    column_numeric = ("models",)
    column_minor = ("base_url",)
    column_formatters = CELLS
    sort_by: ClassVar[Mapping[str, Any]] = {
        "display_name": Provider.display_name,
        "driver": Provider.driver,
        "is_active": Provider.is_active,
        "is_primary": Provider.is_primary,
        "models": select(func.count(Model.id)).where(Model.provider_id == Provider.id).scalar_subquery(),
        "base_url": Provider.base_url,
    }
    default_order = (Provider.sort_order, Provider.slug)
    column_filters = (
        ChoiceFilter("Driver", lambda name: Provider.driver == name, [(name, info.label) for name, info in DRIVERS.items()]),
        YesNoFilter("Active", lambda value: Provider.is_active.is_(value)),
        YesNoFilter("Stored key", lambda value: has_key() if value else ~has_key()),
    )
    form = provider_form.ProviderForm
    form_rules = provider_form.RULES
    form_widget_args = provider_form.WIDGETS

    def search_condition(self, word: str) -> ColumnElement[bool]:
        columns = (Provider.display_name, Provider.slug, Provider.base_url, Provider.description)
        conditions = [contains_text(column, word) for column in columns]
        return conditions[0] | conditions[1] | conditions[2] | conditions[3]

    def search_placeholder(self) -> str:
        return "name, slug, base URL"

    def row_name(self, row: Provider) -> str:
        return row.display_name

    def get_list(self, *args: Any, **options: Any) -> Any:
        """Return the list, and load what the cells show from other tables with one query per table."""
        count, rows = super().get_list(*args, **options)
        ids = [row.id for row in rows]
        g.model_counts = dict(
            db.session.execute(select(Model.provider_id, func.count()).where(Model.provider_id.in_(ids)).group_by(Model.provider_id)).all()
        )
        shared = select(Credential).where(Credential.provider_id.in_(ids), Credential.scope == "shared", Credential.owner == "")
        g.keys = {credential.provider_id: credential for credential in db.session.execute(shared).scalars()}
        g.checks = connection_tests.latest_by_provider(db.session(), ids)
        g.may_edit = self.can_edit
        return count, rows

    # Changes, through the services.

    def requires_reauthentication(self, name: str) -> bool:
        """Protect the forms, which hold keys and the addresses that keys are sent to, and the deletion of providers and keys."""
        return name in ("create_view", "edit_view", "delete_view", "remove_key", *KEY_VIEWS)

    def create_form(self, obj: object = None) -> Any:
        return self._prepare_form(provider_form.ProviderForm(get_form_data()), None)

    def edit_form(self, obj: Any = None) -> Any:
        row_values = provider_form.form_values(obj)
        return self._prepare_form(edit_conflicts.prepare_form(provider_form.ProviderForm(get_form_data(), row_values), row_values), obj)

    def on_stale(self, form: Any, row: Any) -> None:
        edit_conflicts.show_conflict(form, provider_form.form_values(row), "provider", row.id)

    def _prepare_form(self, form: Any, row: Provider | None) -> Any:
        form.driver.choices = provider_form.driver_choices()
        state = key_state(row, credentials.get_shared_or_none(db.session(), row) if row else None)
        form.key_part = lambda: Markup(render_template("admin/credentials/_key.html", form=form, key=state, may=can_edit_keys()))
        form.row = row
        form.move_part = lambda: Markup(render_template("admin/catalog/providers/_move.html", warning=move_warning(row, form)))
        if row is not None:
            address = self.get_url(".moves", id=row.id)
            form.base_url.render_kw = provider_form.URL_INPUT | {
                "hx-post": address,
                "hx-trigger": "change",
                "hx-target": "#move-warning",
                "hx-swap": "outerHTML",
                "hx-include": "closest form",
            }
        return form

    @expose("/<id>/moves", methods=("POST",))
    def moves(self, id: str) -> str:
        """Return the warning about stored keys that saving the current form would remove. Nothing is stored."""
        self.require_permission(self.can_edit)
        row = self.find_row(id)
        form = provider_form.ProviderForm(get_form_data(), provider_form.form_values(row))
        return self.render("admin/catalog/providers/_move.html", warning=move_warning(row, form))

    def validate_form(self, form: Any) -> bool:
        if not super().validate_form(form):
            return False
        if not isinstance(form, provider_form.ProviderForm):
            return True  # The form of a bulk action.
        if ((form.api_key.data or "").strip() or form.remove_key.data) and not can_edit_keys():
            raise Forbidden("Only admins may enter or remove keys.")
        for name in provider_form.CONFIG_JSON_FIELDS:
            if provider_form.parse_json_object(form[name].data) is None:
                form[name].errors = [*form[name].errors, "must be a JSON object"]
        if form.api_key.data and form.remove_key.data:
            form.api_key.errors = [*form.api_key.errors, "is given and removed at once; do one of them"]
        warning = move_warning(form.row, form)
        if warning and not form.move_confirmed.data:
            form.base_url.errors = [
                *form.base_url.errors,
                f"leads elsewhere: saving removes {warning['what']}. Tick below that this is meant.",
            ]
        return not form.errors

    def values_of(self, form: Any) -> dict[str, Any]:
        row_id = request.args.get("id") if request.endpoint == f"{self.endpoint}.edit_view" else None
        row = self.get_one(row_id) if row_id else None
        key = (form.api_key.data or "").strip()
        return {"entry": provider_form.entry_values(form, row.config if row else {}), "key": key, "remove": form.remove_key.data}

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Provider:
        provider = providers.create(session, values["entry"], actor=self.actor(), policy=container.current().outbound)
        if values["key"]:
            credentials.store(session, provider, values["key"], vault=container.vault(), actor=self.actor())
        return provider

    def update_row(self, session: Session, row: Provider, values: Mapping[str, Any]) -> Provider:
        stored_key = credentials.get_shared_or_none(session, row)
        version = version_of(request.form.get("row_version"))
        provider = providers.update(
            session,
            row.id,
            values["entry"],
            actor=self.actor(),
            version=version,
            policy=container.current().outbound,
            confirmed=confirmed_keys(),
        )
        session.flush()
        removed = stored_key is not None and credentials.get_shared_or_none(session, provider) is None
        if values["remove"] and not removed and stored_key is not None:
            credentials.remove(session, provider, actor=self.actor())
        if values["key"]:
            credentials.store(session, provider, values["key"], vault=container.vault(), actor=self.actor())
        elif removed:
            flash("The stored key was removed, because the base URL now leads elsewhere. Enter the key for the new address.", "warning")
        return provider

    def delete_row(self, session: Session, row: Provider) -> None:
        try:
            providers.delete(session, row.id, actor=self.actor())
        except InUse as error:
            names = ", ".join(error.users[:MAX_NAMED_USERS])
            remaining = len(error.users) - MAX_NAMED_USERS
            raise InUse(f"{error.detail} Used by: {names}{f' and {remaining} more' if remaining > 0 else ''}.", error.users) from None

    @expose("/<id>/active", methods=("POST",))
    def set_active(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            provider = providers.set_active(session, self.find_row(id).id, requested_state(), actor=self.actor())
            active = provider.is_active
            return ChangeResult(
                f"{provider} is now {'active' if active else 'inactive; none of its models is supported'}.",
                url_for(".set_active", id=provider.id, to=0 if active else 1),
                lambda: active_switch(provider),
            )

        return self.apply_change(run)

    @expose("/<id>/primary", methods=("POST",))
    def set_primary(self, id: str) -> ResponseReturnValue:
        """Make the provider the primary provider. With `to=0`, clear the primary provider."""

        def run(session: Session) -> ChangeResult:
            previous = session.execute(select(Provider).where(Provider.is_primary)).scalar_one_or_none()
            provider = self.find_row(id)
            if not requested_state(True):
                if not provider.is_primary:
                    raise Invalid(f"{provider} is not the primary provider. Load the page again.")
                providers.clear_primary(session, actor=self.actor())
                undo = url_for(".set_primary", id=provider.id, to=1)
                return ChangeResult("There is no primary provider: incidents are answered by the local rules.", undo, refresh=True)
            if reason := unavailable_reason(provider.display_name, provider.driver):
                raise Conflict(f"{reason} A primary provider has to answer incidents, so choose another one.")
            providers.set_primary(session, provider.id, actor=self.actor())
            undo_url = url_for(".set_primary", id=previous.id if previous else provider.id, to=1 if previous else 0)
            return ChangeResult(f"{provider} is now the primary provider.", undo_url, refresh=True)

        return self.apply_change(run)

    @expose("/<id>/remove-key", methods=("POST",))
    def remove_key(self, id: str) -> ResponseReturnValue:
        self.require_permission(can_edit_keys())

        def run(session: Session) -> ChangeResult:
            provider = self.find_row(id)
            credentials.remove(session, provider, actor=self.actor())
            return ChangeResult(f"The key of {provider} was removed.", refresh=True)

        return self.apply_change(run)

    def details_of(self, row: Provider) -> dict[str, Any]:
        count = db.session.execute(select(func.count()).select_from(Model).where(Model.provider_id == row.id)).scalar_one()
        return {
            "facts": description_list(row),
            "barred": unavailable_reason(row.display_name, row.driver),
            "keys": keys_card(row),
            "check": check_view_model(connection_tests.latest_by_provider(db.session(), [row.id]).get(row.id), row),
            "may_check": self.can_edit and row.driver != connection_tests.LOCAL,
            "model_count": count,
            "events": target_events("provider", row.id),
            "may_key": can_edit_keys(),
            "may_edit": self.can_edit,
        }


def _is_replaced(stored_keys: Sequence[Credential], form: Any) -> bool:
    """Return whether the entered key replaces the only stored one, so that saving removes no other key."""
    return bool((form.api_key.data or "").strip()) and [key.scope for key in stored_keys] == [SHARED]


def move_warning(row: Provider | None, form: Any) -> dict[str, Any] | None:
    """Return which stored keys saving would remove because the base URL changes its origin, or None if there are none."""
    stored_keys = credentials.list_by_provider(db.session(), row) if row is not None else []
    if row is None or not stored_keys or _is_replaced(stored_keys, form):
        return None
    entry = {"base_url": (form.base_url.data or "").strip() or None, "driver": (form.driver.data or "").strip()}
    try:
        moved = providers.changes_destination(row, entry)
    except Invalid:
        return None  # The address is invalid. The services report the error.
    if not moved:
        return None
    last_four = stored_keys[0].last_four
    keys = (
        f"{len(stored_keys)} stored keys"
        if len(stored_keys) > 1
        else f"the stored key ending in …{last_four}"
        if last_four
        else "the stored key"
    )
    destination = stored_keys[0].origin or "the driver's own address"
    return {"what": keys, "why": f"It was entered for {destination}, and is sent nowhere else.", "ticked": bool(form.move_confirmed.data)}
