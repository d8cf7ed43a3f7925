"""Projects and personal keys: provider keys that are not shared."""

from collections.abc import Mapping
from typing import Any, ClassVar

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session
from wtforms import BooleanField, TextAreaField

from webapp.admin.core import edit_conflicts
from webapp.admin.core.base import GuardedView, is_id
from webapp.admin.core.fields import VERSION_RULES, VersionedForm, required_field, version_of
from webapp.admin.core.filters import YesNoFilter
from webapp.admin.core.flask_admin_adapter import get_form_data, rules
from webapp.admin.core.formatters import tag, time_tag
from webapp.admin.credentials.provider_keys import key_destination, require_current_destination
from webapp.admin.projects.overrides import OverridesMixin
from webapp.domain.accounts.permissions import Permission
from webapp.domain.credentials.key_access import PERSONAL
from webapp.domain.shared.errors import ModeldeskError, NotFound
from webapp.extensions import db
from webapp.models import ApiToken, Credential, Project, ProjectOverride, Provider
from webapp.models.text_search import contains_text
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.credentials import credentials, key_access
from webapp.services.credentials.credentials import Holder
from webapp.services.projects import projects
from webapp.web.auth import require_member


class ProjectForm(VersionedForm):
    display_name = required_field("Name", "What people read in lists.")
    slug = required_field("Slug", "What tokens and keys name it by, such as billing.", spellcheck="false", autocapitalize="off")
    description = TextAreaField("Description")
    active = BooleanField("Active", default=True, description="The keys of an inactive project are not used.")


class Projects(OverridesMixin):
    """Groups of applications with their own keys."""

    table = Project
    singular_name = "project"
    needs_to_edit = Permission.CREDENTIALS_WRITE
    purpose = "Applications that belong together. A project may have keys of its own; tokens that name it use them."
    purpose_create = "Give tokens its slug, and enter its keys on the pages of the providers."
    empty_title = "No projects yet"
    empty_text = "Make one where an application is to pay with a key of its own instead of the shared one."
    can_view_details = False
    column_list = ("display_name", "slug", "rules_count", "keys", "tokens", "is_active", "updated_at")
    column_labels: ClassVar[dict[str, str]] = {
        "display_name": "Project",
        "rules_count": "Rules",
        "is_active": "State",
        "updated_at": "Changed",
    }
    column_numeric = ("keys", "tokens")
    sort_by: ClassVar[Mapping[str, Any]] = {"display_name": Project.display_name, "slug": Project.slug, "updated_at": Project.updated_at}
    default_order = (Project.display_name,)
    column_filters = (YesNoFilter("Active", lambda on: Project.is_active.is_(on)),)
    column_formatters: ClassVar[dict[str, Any]] = {
        "rules_count": lambda _, __, project, ___: rules_link(project),
        "keys": lambda _, __, project, ___: _count(Credential.owner == project.slug, Credential.scope == "project"),
        "tokens": lambda _, __, project, ___: _count(ApiToken.project == project.slug, ApiToken.revoked_at.is_(None)),
        "is_active": lambda _, __, project, ___: tag("Active", "green") if project.is_active else tag("Inactive"),
        "updated_at": lambda _, __, project, ___: time_tag(project.updated_at),
    }
    form = ProjectForm
    form_rules = (
        rules.FieldSet((rules.Text("What it is called."), "display_name", "slug", "description"), "Project"),
        rules.FieldSet((rules.Text("Changes reach every worker within a second."), "active", *VERSION_RULES), "State"),
    )

    def search_condition(self, word: str) -> ColumnElement[bool]:
        return or_(*(contains_text(column, word) for column in (Project.display_name, Project.slug, Project.description)))

    def search_placeholder(self) -> str:
        return "name, slug, description"

    def create_form(self, obj: object = None) -> Any:
        return ProjectForm(get_form_data())

    def edit_form(self, obj: Any = None) -> Any:
        values = form_values(obj)
        return edit_conflicts.prepare_form(ProjectForm(get_form_data(), values), values)

    def on_stale(self, form: Any, row: Project) -> None:
        edit_conflicts.show_conflict(form, form_values(row), "project", row.id)

    def values_of(self, form: Any) -> dict[str, Any]:
        values = {name: (form[name].data or "").strip() for name in ("display_name", "slug", "description")}
        return values | {"active": bool(form.active.data)}

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Project:
        return projects.create(session, values, actor=self.actor())

    def update_row(self, session: Session, row: Project, values: Mapping[str, Any]) -> Project:
        version = version_of(request.form.get("row_version"))
        return projects.update(session, row.id, values, actor=self.actor(), version=version)

    def delete_row(self, session: Session, row: Project) -> None:
        projects.delete(session, row.id, actor=self.actor())


def form_values(project: Project) -> dict[str, Any]:
    """Return the values of the project form."""
    values = {name: getattr(project, name) for name in ("display_name", "slug", "description")}
    return values | {"active": project.is_active, "row_version": str(project.version)}


def rules_link(project: Project) -> Markup:
    query = select(func.count()).select_from(ProjectOverride).where(ProjectOverride.project_id == project.id)
    count = db.session.execute(query).scalar_one()
    url = url_for("project.rules", id=project.id)
    return Markup('<a href="{}" aria-label="Rules of {}">{}</a>').format(
        url, project.display_name, f"{count:,} rules" if count != 1 else "1 rule"
    )


def _count(*conditions: ColumnElement[bool]) -> str:
    table = Credential if any("credentials" in str(condition) for condition in conditions) else ApiToken
    return f"{db.session.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one():,}"


class MyKeys(GuardedView):
    """The personal keys of the signed-in user. No one else can store, remove or use them."""

    needs = Permission.RUNS_WRITE
    purpose = "Your own keys, used for what you run and for nobody else. They are stored encrypted and never shown again."

    def requires_reauthentication(self, name: str) -> bool:
        return True

    @expose("/")
    def index(self) -> str:
        session, email = db.session(), require_member().email
        providers = session.execute(
            select(Provider).where(Provider.allow_personal_keys).order_by(Provider.sort_order, Provider.slug)
        ).scalars()
        keys = {key.provider_id: key for key in credentials.list_personal(session, email)}
        call_counts = {provider_id: key_access.count_calls(session, key.id) for provider_id, key in keys.items()}
        rows = [
            {
                "provider": provider,
                "key": keys.get(provider.id),
                "used": call_counts.get(provider.id, 0),
                "address": key_destination(provider),
            }
            for provider in providers
        ]
        return self.render("admin/credentials/mykeys.html", rows=rows, locked=container.vault().reason)

    @expose("/store", methods=("POST",))
    def store(self) -> ResponseReturnValue:
        return self._change(lambda session, provider, holder: self._store(session, provider, holder), "was stored")

    @expose("/remove", methods=("POST",))
    def remove(self) -> ResponseReturnValue:
        return self._change(
            lambda session, provider, holder: credentials.remove(session, provider, actor=require_member().email, holder=holder),
            "was removed",
        )

    def _store(self, session: Session, provider: Provider, holder: Holder) -> None:
        require_current_destination(provider)
        key = request.form.get("api_key", "").strip()
        credentials.store(session, provider, key, vault=container.vault(), actor=require_member().email, holder=holder)

    def _change(self, run: Any, outcome: str) -> ResponseReturnValue:
        provider_id = request.form.get("provider", "")
        try:
            with writing() as session:
                provider = session.get(Provider, int(provider_id)) if is_id(provider_id) else None
                if provider is None:
                    raise NotFound("There is no such provider.")
                run(session, provider, Holder(PERSONAL, require_member().email))
                name = provider.display_name
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash(f"Your key for {name} {outcome}.", "success")
        return redirect(self.get_url(".index"))
