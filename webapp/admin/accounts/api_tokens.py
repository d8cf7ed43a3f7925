"""API tokens of applications, for admins. A token is shown once, in the response to its creation."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, make_response
from flask.typing import ResponseReturnValue
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import Session
from wtforms import Form, SelectField, StringField

from webapp.admin.accounts.users import AccountsView
from webapp.admin.core.fields import StaffForm, parse_whole_number, pills_field, required_field
from webapp.admin.core.filters import YesNoFilter
from webapp.admin.core.flask_admin_adapter import get_form_data, rules
from webapp.admin.core.formatters import NOTHING, tag, time_tag
from webapp.admin.core.lists import ChangeResult
from webapp.admin.core.price_sql import current_time
from webapp.domain.accounts.permissions import SCOPES
from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import ApiToken
from webapp.models.text_search import contains_text
from webapp.services.accounts import api_tokens
from webapp.services.projects import projects

SCOPE_DESCRIPTIONS = {
    "registry:read": "read the registry",
    "registry:write": "change the registry",
    "runs:write": "run incidents",
    "usage:write": "report usage",
    "usage:read": "read usage",
}


class TokenForm(StaffForm):
    name = required_field("Name", "Which application it is for.", autocomplete="off")
    scopes = pills_field("May", [(scope, SCOPE_DESCRIPTIONS.get(scope, scope)) for scope in SCOPES])
    project = SelectField(
        "Project", choices=[("", "none")], default="", description="Its keys and its rules are used for what this token asks."
    )
    expires_days = StringField(
        "Ends after",
        default="90",
        description="1 to 365 days; empty means never. Applications get a new one before.",
        render_kw={"inputmode": "numeric"},
    )


class Tokens(AccountsView):
    """API tokens: create, list and revoke."""

    table = ApiToken
    singular_name = "token"
    purpose = "What applications show at the HTTP API. A token is shown once, when it is made."
    purpose_create = "The token is shown once, on the next page; only its fingerprint is kept."
    empty_title = "No tokens yet"
    empty_text = "An application that asks the registry over HTTP needs one."
    can_edit = can_view_details = False
    list_template = "admin/accounts/tokens.html"
    column_list = ("name", "public_id", "scopes", "state", "expires_at", "created_by", "created_at")
    column_labels: ClassVar[dict[str, str]] = {
        "public_id": "Begins with",
        "expires_at": "Ends",
        "created_by": "Made by",
        "created_at": "Made",
    }
    sort_by: ClassVar[Mapping[str, Any]] = {
        "name": ApiToken.name,
        "expires_at": ApiToken.expires_at,
        "created_by": ApiToken.created_by,
        "created_at": ApiToken.created_at,
    }
    default_order = (ApiToken.revoked_at.is_not(None), ApiToken.id.desc())
    column_filters = (YesNoFilter("Works", lambda on: is_valid_token() if on else ~is_valid_token()),)
    column_formatters: ClassVar[dict[str, Any]] = {
        "public_id": lambda _, __, token, ___: Markup("<code>mdk_{}_…</code>").format(token.public_id),
        "scopes": lambda _, __, token, ___: Markup(" ").join(tag(scope) for scope in token.scopes),
        "state": lambda _, __, token, ___: token_state_tag(token),
        "expires_at": lambda _, __, token, ___: time_tag(token.expires_at) if token.expires_at else "never",
        "created_by": lambda _, __, token, ___: token.created_by or NOTHING,
        "created_at": lambda _, __, token, ___: time_tag(token.created_at),
    }
    form = TokenForm
    form_create_rules = (
        rules.FieldSet(
            (rules.Text("Give each application its own, with no more than it needs."), "name", "scopes", "project", "expires_days"), "Token"
        ),
    )
    form_widget_args: ClassVar[dict[str, Any]] = {"expires_days": {"append": "days"}}

    def search_condition(self, word: str) -> ColumnElement[bool]:
        return or_(*(contains_text(column, word) for column in (ApiToken.name, ApiToken.public_id, ApiToken.created_by)))

    def search_placeholder(self) -> str:
        return "name, first characters, who made it"

    def create_form(self, obj: object = None) -> Form:
        form = TokenForm(get_form_data())
        form.project.choices = [("", "none"), *((row.slug, row.display_name) for row in projects.list_all(db.session()) if row.is_active)]
        return form

    def values_of(self, form: Any) -> dict[str, Any]:
        days = parse_whole_number(form.expires_days.data)
        return {"name": form.name.data, "scopes": form.scopes.data or [], "days": days, "project": form.project.data or None}

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:
        days = values["days"]
        if not values["scopes"]:
            raise Invalid.field("scopes", "Tick at least one")
        if isinstance(days, str):
            raise Invalid.field("expires_days", f"must be 1 to {api_tokens.MAX_LIFETIME_DAYS}")
        expires_at = api_tokens.expiry_date(days, now=datetime.now(UTC))
        project = values["project"]
        return api_tokens.create(session, values["name"], values["scopes"], actor=self.actor(), expires_at=expires_at, project=project)

    def after_save(self, row: Any, *, created: bool) -> Response:
        token, text = row
        return make_response(self.render("admin/accounts/token.html", token=token, text=text, return_url=self.get_url(".index_view")))

    @expose("/<id>/revoke", methods=("POST",))
    def revoke(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            token = api_tokens.revoke(session, self.find_row(id).id, actor=self.actor(), now=datetime.now(UTC))
            return ChangeResult(f"{token} was revoked: every worker refuses it within a second.", refresh=True)

        return self.apply_change(run)


def is_valid_token() -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & (ApiToken.expires_at.is_(None) | (ApiToken.expires_at > current_time()))


def token_state_tag(token: ApiToken) -> Markup:
    if token.revoked_at is not None:
        return tag("Revoked", "red")
    return tag("Expired", "yellow") if token.expires_at and token.expires_at <= datetime.now(UTC) else tag("Works", "green")
