"""The page of your own account: sessions and password."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView, is_id
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import User
from webapp.runtime.transaction import writing
from webapp.security import passwords
from webapp.services.accounts import accounts, login_throttle
from webapp.services.accounts.login_throttle import Attempt
from webapp.web.auth import require_member, session_secret


class Account(GuardedView):
    """Open to every signed-in user: every role can read the registry."""

    needs = Permission.REGISTRY_READ
    purpose = "Where you are signed in, and your password."

    def is_visible(self) -> bool:
        """Return False: the page is listed in the user menu, not in the main menu."""
        return False

    @expose("/", methods=("GET",))
    def index(self) -> Response:
        return self._page({})

    @expose("/password", methods=("POST",))
    def change_password(self) -> Any:
        current, new, repeated = (request.form.get(name, "")[: passwords.MAX_LENGTH + 1] for name in ("present", "new", "again"))
        try:
            _require_valid_passwords(current, new, repeated)
            with writing(refresh=False) as writer:
                accounts.change_password(writer, writer.get_one(User, require_member().id), new, current_secret=session_secret())
        except Invalid as error:
            return self._page({field_error.field: field_error.message for field_error in error.errors})
        flash("Your password is changed. All other sign-ins of yours have ended.", "success")
        return redirect(self.get_url(".index"))

    @expose("/sessions/<number>/end", methods=("POST",))
    def end_session(self, number: str) -> Redirect:
        try:
            with writing(refresh=False) as writer:
                accounts.end_own_session(writer, require_member().id, int(number) if is_id(number) else 0, actor=require_member().email)
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash("That sign-in has ended.", "success")
        return redirect(self.get_url(".index"))

    def _page(self, errors: dict[str, str]) -> Response:
        now = datetime.now(UTC)
        rows = accounts.list_sessions(db.session(), require_member().id, now=now)
        own_session = accounts.get_session_or_none(db.session(), session_secret(), now=now)
        page = self.render(
            "admin/accounts/account.html",
            sessions=rows,
            present=own_session[0].id if own_session else None,
            errors=errors,
            least=passwords.MIN_LENGTH,
            idle=accounts.SESSION_IDLE_TIMEOUT,
            life=accounts.SESSION_LIFETIME,
        )
        return Response(page, 422 if errors else 200)


def _require_valid_passwords(current: str, new: str, repeated: str) -> None:
    """Check the form fields. Raises `Invalid` with the field name.

    Wrong guesses count against the throttle of the step-up page. A stolen session is therefore no way to guess the password.

    The check runs before the transaction begins. Hashing takes a tenth of a second, and no other writer should wait for it.
    """
    with writing(refresh=False) as writer:
        if (
            login_throttle.register(writer, Attempt(session_secret(), request.remote_addr or "", kind="session"), datetime.now(UTC))
            is not None
        ):
            raise Invalid.field("present", "was wrong too often; wait five minutes")
    if accounts.authenticate(db.session(), require_member().email, current) is None:
        raise Invalid.field("present", "is not your present password")
    if new != repeated:
        raise Invalid.field("again", "is not the same as the new password")
