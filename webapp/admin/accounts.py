"""Users and applications' tokens, for admins. Links and tokens are shown once, on the answer that made them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, make_response, url_for
from flask_admin import expose
from flask_admin.form import rules
from flask_admin.helpers import get_form_data
from markupsafe import Markup
from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import Session
from wtforms import BooleanField, Form, SelectField, StringField

from webapp.admin.fields import StaffForm, whole
from webapp.admin.filters import ChoiceFilter, YesNoFilter
from webapp.admin.formatters import NOTHING, tag, when
from webapp.admin.lists import Done, RowsView, wanted
from webapp.admin.model_form import pills, required
from webapp.admin.price_sql import this_moment
from webapp.domain.errors import Invalid
from webapp.domain.permissions import ROLES, SCOPES, Permission
from webapp.extensions import db
from webapp.models import ApiToken, User
from webapp.services import accounts, api_tokens, identities, projects, second_factor
from webapp.web import current

ROLE_WORDS = {
    "viewer": "Viewer: may look",
    "editor": "Editor: may change providers, models and prices",
    "admin": "Admin: may also manage keys, users and tokens",
}  # fmt: skip
SCOPE_WORDS = {
    "registry:read": "read the registry", "registry:write": "change the registry", "runs:write": "run incidents",
    "usage:write": "report usage", "usage:read": "read usage",
}  # fmt: skip
ROLE_TONES = {"admin": "purple", "editor": "blue", "viewer": "neutral"}


class UserForm(StaffForm):
    email = required("E-mail", "A link to choose a password is made for this address; send it yourself.", type="email", autocomplete="off")
    role = SelectField("Role", choices=[(role, ROLE_WORDS.get(role, role)) for role in ROLES], validate_choice=False)


class UserEditForm(StaffForm):
    role = SelectField("Role", choices=[(role, ROLE_WORDS.get(role, role)) for role in ROLES], validate_choice=False)
    active = BooleanField("May sign in", description="Whoever may not is signed out at once.")


class AccountsView(RowsView):
    """What only those who manage accounts may see."""

    needs = Permission.ACCOUNTS_MANAGE
    edits = Permission.ACCOUNTS_MANAGE
    can_delete = False

    def needs_confirming(self, name: str) -> bool:
        """All of it: who may come in, as what, and with which token."""
        return True


class Users(AccountsView):
    """Staff: added with a link, never with a password that somebody else knows."""

    table = User
    name_one = "user"
    purpose = "Who may sign in, and what each may do."
    purpose_create = "You get a link that works once, within 30 minutes, to choose a password."
    can_view_details = False
    list_template, edit_template = "admin/accounts/users.html", "admin/accounts/user.html"
    column_list = ("email", "role", "state", "second_factor", "last_login_at", "created_at")
    column_labels: ClassVar[dict[str, str]] = {
        "email": "E-mail",
        "second_factor": "Second factor",
        "last_login_at": "Last sign-in",
        "created_at": "Added",
    }
    sort_by: ClassVar[Mapping[str, Any]] = {
        "email": User.email, "role": User.role, "last_login_at": User.last_login_at, "created_at": User.created_at,
    }  # fmt: skip
    default_order = (User.email,)
    column_filters = (
        ChoiceFilter("Role", lambda role: User.role == role, [(role, role) for role in ROLES]),
        YesNoFilter("May sign in", lambda on: User.is_active.is_(on)),
        YesNoFilter("Second factor", lambda on: User.totp_since.is_not(None) if on else User.totp_since.is_(None)),
    )
    column_formatters: ClassVar[dict[str, Any]] = {
        "role": lambda _, __, user, ___: tag(user.role, ROLE_TONES.get(user.role, "neutral")),
        "state": lambda _, __, user, ___: user_state(user),
        "second_factor": lambda _, __, user, ___: tag("On", "green") if user.totp_since else NOTHING,
        "last_login_at": lambda _, __, user, ___: when(user.last_login_at),
        "created_at": lambda _, __, user, ___: when(user.created_at),
    }
    form = UserForm
    form_create_rules = (rules.FieldSet((rules.Text("Who it is, and what this person may do."), "email", "role"), "User"),)
    form_edit_rules = (rules.FieldSet((rules.Text("The last active admin stays one."), "role", "active"), "Rights"),)

    def get_edit_form(self) -> type[Form]:
        return UserEditForm

    def matching(self, word: str) -> ColumnElement[bool]:
        return User.email.icontains(word, autoescape=True)

    def search_placeholder(self) -> str:
        return "e-mail"

    def create_form(self, obj: object = None) -> Form:
        return UserForm(get_form_data())

    def edit_form(self, obj: Any = None) -> Form:  # noqa: ANN401 # Flask-Admin's signature
        return UserEditForm(get_form_data(), data={"role": obj.role, "active": obj.is_active})

    def values_of(self, form: Form) -> dict[str, Any]:
        return dict(form.data)

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 # the user and the link's secret
        user = accounts.create(session, values["email"] or "", values["role"] or "", actor=self.actor())
        return user, accounts.make_link(session, user, actor=self.actor(), now=datetime.now(UTC))

    def update_row(self, session: Session, row: User, values: Mapping[str, Any]) -> User:
        user = session.get_one(User, row.id, with_for_update=True, populate_existing=True)
        if user.is_active and not values["active"]:
            accounts.set_active(session, user, False, actor=self.actor())
        if user.role != values["role"]:
            accounts.set_role(session, user, values["role"] or "", actor=self.actor())
        if not user.is_active and values["active"]:
            accounts.set_active(session, user, True, actor=self.actor())
        return user

    def after_save(self, row: Any, *, created: bool) -> Response:  # noqa: ANN401 # a user, and a secret for a new one
        return self._link_page(*row) if created else super().after_save(row, created=False)

    @expose("/<id>/link", methods=("POST",))
    def new_link(self, id: str) -> Response:
        """A link to choose a new password; earlier ones end."""
        self.insist(self.can_edit)
        made: list[Any] = []

        def run(session: Session) -> Done:
            user = self.row(id)
            if not user.is_active:
                raise Invalid(f"{user} may not sign in. Let the user in first.")
            made.extend((user, accounts.make_link(session, user, actor=self.actor(), now=datetime.now(UTC))))
            return Done("")

        answer = self.change(run)
        return self._link_page(*made) if made else answer

    def _link_page(self, user: User, secret: str) -> Response:
        link = f"{current.settings().base_url}/setup/{secret}"
        return make_response(self.render("admin/accounts/link.html", user=user, link=link, return_url=self.get_url(".index_view")))

    @expose("/<id>/second-factor/remove", methods=("POST",))
    def remove_second_factor(self, id: str) -> Response:
        """For somebody who lost the device and the recovery codes."""

        def run(session: Session) -> Done:
            user = self.row(id)
            second_factor.remove(session, user, actor=self.actor())
            return Done(f"{user} signs in with the password alone now, and can set up another device.", refresh=True)

        return self.change(run)

    @expose("/<id>/unlink", methods=("POST",))
    def unlink(self, id: str) -> Response:
        """For an address that belongs to another person at the identity provider now."""

        def run(session: Session) -> Done:
            user = self.row(id)
            identities.unlink(session, user, actor=self.actor())
            return Done(f"{user} is linked to nobody at the identity provider any more, and was signed out.", refresh=True)

        return self.change(run)

    def is_linked(self, user: User) -> bool:
        return identities.is_linked(db.session(), user.id)

    @expose("/<id>/active", methods=("POST",))
    def set_active(self, id: str) -> Response:
        def run(session: Session) -> Done:
            user = self.row(id)
            to = bool(wanted(not user.is_active))
            accounts.set_active(session, user, to, actor=self.actor())
            undo = url_for(".set_active", id=user.id, to=0 if to else 1)
            return Done(f"{user} may {'sign in again' if to else 'no longer sign in'}.", undo, refresh=True)

        return self.change(run)


def user_state(user: User) -> Markup:
    if not user.is_active:
        return tag("May not sign in", "red")
    return tag("Active", "green") if user.last_login_at else tag("Waits for the link", "yellow")


class TokenForm(StaffForm):
    name = required("Name", "Which application it is for.", autocomplete="off")
    scopes = pills("May", [(scope, SCOPE_WORDS.get(scope, scope)) for scope in SCOPES])
    project = SelectField(
        "Project", choices=[("", "none")], default="", description="Its keys and its rules are used for what this token asks."
    )
    expires_days = StringField(
        "Ends after", default="90", description="1 to 365 days; empty means never. Applications get a new one before.",
        render_kw={"inputmode": "numeric"},
    )  # fmt: skip


class Tokens(AccountsView):
    """Applications' tokens: made, listed, revoked."""

    table = ApiToken
    name_one = "token"
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
        "name": ApiToken.name, "expires_at": ApiToken.expires_at, "created_by": ApiToken.created_by, "created_at": ApiToken.created_at,
    }  # fmt: skip
    default_order = (ApiToken.revoked_at.is_not(None), ApiToken.id.desc())
    column_filters = (
        YesNoFilter("Works", lambda on: token_works() if on else ~token_works()),
    )  # fmt: skip
    column_formatters: ClassVar[dict[str, Any]] = {
        "public_id": lambda _, __, token, ___: Markup("<code>mdk_{}_…</code>").format(token.public_id),
        "scopes": lambda _, __, token, ___: Markup(" ").join(tag(scope) for scope in token.scopes),
        "state": lambda _, __, token, ___: token_state(token),
        "expires_at": lambda _, __, token, ___: when(token.expires_at) if token.expires_at else "never",
        "created_by": lambda _, __, token, ___: token.created_by or NOTHING,
        "created_at": lambda _, __, token, ___: when(token.created_at),
    }
    form = TokenForm
    form_create_rules = (
        rules.FieldSet(
            (rules.Text("Give each application its own, with no more than it needs."), "name", "scopes", "project", "expires_days"), "Token"
        ),
    )
    form_widget_args: ClassVar[dict[str, Any]] = {"expires_days": {"append": "days"}}

    def matching(self, word: str) -> ColumnElement[bool]:
        return or_(*(column.icontains(word, autoescape=True) for column in (ApiToken.name, ApiToken.public_id, ApiToken.created_by)))

    def search_placeholder(self) -> str:
        return "name, first characters, who made it"

    def create_form(self, obj: object = None) -> Form:
        form = TokenForm(get_form_data())
        form.project.choices = [("", "none"), *((row.slug, row.display_name) for row in projects.every(db.session()) if row.is_active)]
        return form

    def values_of(self, form: Any) -> dict[str, Any]:  # noqa: ANN401 # the form above
        days = whole(form.expires_days.data)
        return {"name": form.name.data, "scopes": form.scopes.data or [], "days": days, "project": form.project.data or None}

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 # the token and its text
        days = values["days"]
        if not values["scopes"]:
            raise Invalid.field("scopes", "Tick at least one")
        if isinstance(days, str):
            raise Invalid.field("expires_days", f"must be 1 to {api_tokens.LONGEST_LIFE_DAYS}")
        ends = api_tokens.expiry(days, now=datetime.now(UTC))
        project = values["project"]
        return api_tokens.create(session, values["name"], values["scopes"], actor=self.actor(), expires_at=ends, project=project)

    def after_save(self, row: Any, *, created: bool) -> Response:  # noqa: ANN401 # the token and its text
        token, text = row
        return make_response(self.render("admin/accounts/token.html", token=token, text=text, return_url=self.get_url(".index_view")))

    @expose("/<id>/revoke", methods=("POST",))
    def revoke(self, id: str) -> Response:
        def run(session: Session) -> Done:
            token = api_tokens.revoke(session, self.row(id).id, actor=self.actor(), now=datetime.now(UTC))
            return Done(f"{token} was revoked: every worker refuses it within a second.", refresh=True)

        return self.change(run)


def token_works() -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & (ApiToken.expires_at.is_(None) | (ApiToken.expires_at > this_moment()))


def token_state(token: ApiToken) -> Markup:
    if token.revoked_at is not None:
        return tag("Revoked", "red")
    return tag("Expired", "yellow") if token.expires_at and token.expires_at <= datetime.now(UTC) else tag("Works", "green")
