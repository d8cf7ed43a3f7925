"""Users, for admins. Links are shown once, in the response that creates them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Response, make_response, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session
from wtforms import BooleanField, Form, SelectField

from webapp.admin.core import edit_conflicts
from webapp.admin.core.fields import VERSION_RULES, StaffForm, VersionedForm, required_field, version_of
from webapp.admin.core.filters import ChoiceFilter, YesNoFilter
from webapp.admin.core.flask_admin_adapter import get_form_data, rules
from webapp.admin.core.formatters import NOTHING, tag, time_tag
from webapp.admin.core.lists import ChangeResult, RowsView, requested_state
from webapp.domain.accounts.permissions import ROLES, Permission
from webapp.extensions import db
from webapp.models import User
from webapp.models.text_search import contains_text
from webapp.runtime import container
from webapp.services.accounts import accounts, identities, second_factor

ROLE_LABELS = {
    "viewer": "Viewer: may look",
    "editor": "Editor: may change providers, models and prices",
    "admin": "Admin: may also manage keys, users and tokens",
}
ROLE_TONES = {"admin": "purple", "editor": "blue", "viewer": "neutral"}


class UserForm(StaffForm):
    email = required_field(
        "E-mail", "A link to choose a password is made for this address; send it yourself.", type="email", autocomplete="off"
    )
    role = SelectField("Role", choices=[(role, ROLE_LABELS.get(role, role)) for role in ROLES], validate_choice=False)


class UserEditForm(VersionedForm):
    role = SelectField("Role", choices=[(role, ROLE_LABELS.get(role, role)) for role in ROLES], validate_choice=False)
    active = BooleanField("May sign in", description="Whoever may not is signed out at once.")


class AccountsView(RowsView):
    """Base of the views that require the permission to manage accounts."""

    needs = Permission.ACCOUNTS_MANAGE
    needs_to_edit = Permission.ACCOUNTS_MANAGE
    can_delete = False

    def requires_reauthentication(self, name: str) -> bool:
        """Return True for every action: all of them concern sign-in, roles or tokens."""
        return True


class Users(AccountsView):
    """Staff accounts. Users choose their password through a link, so no one else ever knows it."""

    table = User
    singular_name = "user"
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
        "email": User.email,
        "role": User.role,
        "last_login_at": User.last_login_at,
        "created_at": User.created_at,
    }
    default_order = (User.email,)
    column_filters = (
        ChoiceFilter("Role", lambda role: User.role == role, [(role, role) for role in ROLES]),
        YesNoFilter("May sign in", lambda on: User.is_active.is_(on)),
        YesNoFilter("Second factor", lambda on: User.totp_since.is_not(None) if on else User.totp_since.is_(None)),
    )
    column_formatters: ClassVar[dict[str, Any]] = {
        "role": lambda _, __, user, ___: tag(user.role, ROLE_TONES.get(user.role, "neutral")),
        "state": lambda _, __, user, ___: user_state_tag(user),
        "second_factor": lambda _, __, user, ___: tag("On", "green") if user.totp_since else NOTHING,
        "last_login_at": lambda _, __, user, ___: time_tag(user.last_login_at),
        "created_at": lambda _, __, user, ___: time_tag(user.created_at),
    }
    form = UserForm
    form_create_rules = (rules.FieldSet((rules.Text("Who it is, and what this person may do."), "email", "role"), "User"),)
    form_edit_rules = (rules.FieldSet((rules.Text("The last active admin stays one."), "role", "active", *VERSION_RULES), "Rights"),)

    def get_edit_form(self) -> type[Form]:
        return UserEditForm

    def search_condition(self, word: str) -> ColumnElement[bool]:
        return contains_text(User.email, word)

    def search_placeholder(self) -> str:
        return "e-mail"

    def create_form(self, obj: object = None) -> Form:
        return UserForm(get_form_data())

    def edit_form(self, obj: Any = None) -> Any:
        values = rights_form_values(obj)
        return edit_conflicts.prepare_form(UserEditForm(get_form_data(), values), values)

    def on_stale(self, form: Any, row: User) -> None:
        edit_conflicts.show_conflict(form, rights_form_values(row), "user", row.id, actions=accounts.PERMISSION_CHANGE_ACTIONS)

    def values_of(self, form: Form) -> dict[str, Any]:
        return dict(form.data)

    def create_row(self, session: Session, values: Mapping[str, Any]) -> Any:
        user = accounts.create(session, values["email"] or "", values["role"] or "", actor=self.actor())
        return user, accounts.make_link(session, user, actor=self.actor(), now=datetime.now(UTC))

    def update_row(self, session: Session, row: User, values: Mapping[str, Any]) -> User:
        user = accounts.find_for_update(session, row.id, version=version_of(request.form.get("row_version")))
        if user.is_active and not values["active"]:
            accounts.set_active(session, user, False, actor=self.actor())
        if user.role != values["role"]:
            accounts.set_role(session, user, values["role"] or "", actor=self.actor())
        if not user.is_active and values["active"]:
            accounts.set_active(session, user, True, actor=self.actor())
        return user

    def after_save(self, row: Any, *, created: bool) -> ResponseReturnValue:
        return self._link_page(*row) if created else super().after_save(row, created=False)

    @expose("/<id>/link", methods=("POST",))
    def new_link(self, id: str) -> ResponseReturnValue:
        """Create a link for choosing a new password. Earlier links no longer work."""
        self.require_permission(self.can_edit)
        link_arguments: list[Any] = []

        def run(session: Session) -> ChangeResult:
            user = self.find_row(id)
            link_arguments.extend((user, accounts.make_link(session, user, actor=self.actor(), now=datetime.now(UTC))))
            return ChangeResult("")

        response = self.apply_change(run)
        return self._link_page(*link_arguments) if link_arguments else response

    def _link_page(self, user: User, secret: str) -> Response:
        link = f"{container.settings().base_url}/setup/{secret}"
        return make_response(self.render("admin/accounts/link.html", user=user, link=link, return_url=self.get_url(".index_view")))

    @expose("/<id>/second-factor/remove", methods=("POST",))
    def remove_second_factor(self, id: str) -> ResponseReturnValue:
        """Remove the second factor of a user who lost both the device and the recovery codes."""

        def run(session: Session) -> ChangeResult:
            user = self.find_row(id)
            second_factor.remove(session, user, actor=self.actor())
            return ChangeResult(f"{user} signs in with the password alone now, and can set up another device.", refresh=True)

        return self.apply_change(run)

    @expose("/<id>/unlink", methods=("POST",))
    def unlink(self, id: str) -> ResponseReturnValue:
        """Unlink a user whose address now belongs to another person at the identity provider."""

        def run(session: Session) -> ChangeResult:
            user = self.find_row(id)
            identities.unlink(session, user, actor=self.actor())
            return ChangeResult(f"{user} is linked to nobody at the identity provider any more, and was signed out.", refresh=True)

        return self.apply_change(run)

    def is_linked(self, user: User) -> bool:
        return identities.is_linked(db.session(), user.id)

    @expose("/<id>/active", methods=("POST",))
    def set_active(self, id: str) -> ResponseReturnValue:
        def run(session: Session) -> ChangeResult:
            user = self.find_row(id)
            active = bool(requested_state(not user.is_active))
            accounts.set_active(session, user, active, actor=self.actor())
            undo = url_for(".set_active", id=user.id, to=0 if active else 1)
            return ChangeResult(f"{user} may {'sign in again' if active else 'no longer sign in'}.", undo, refresh=True)

        return self.apply_change(run)


def rights_form_values(user: User) -> dict[str, Any]:
    """Return the values of the rights form for a user."""
    return {"role": user.role, "active": user.is_active, "row_version": str(user.version)}


def user_state_tag(user: User) -> Markup:
    if not user.is_active:
        return tag("May not sign in", "red")
    return tag("Active", "green") if user.last_login_at else tag("Waits for the link", "yellow")
