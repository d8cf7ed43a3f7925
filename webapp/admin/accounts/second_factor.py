"""The page of your own second factor: enrollment with the first code, and recovery codes that are shown once."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, make_response, redirect, request
from flask_admin import expose
from markupsafe import Markup
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import User
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import login_throttle, second_factor
from webapp.services.accounts.login_throttle import Attempt
from webapp.web import stepup
from webapp.web.auth import require_member


class SecondFactor(GuardedView):
    """Open to every signed-in user, including those who must enroll first."""

    needs = Permission.REGISTRY_READ
    purpose = "A code from a device of yours beside the password, so that the password alone opens nothing."

    def is_visible(self) -> bool:
        return False

    def requires_reauthentication(self, name: str) -> bool:
        return True

    @expose("/", methods=("GET",))
    def index(self) -> Response:
        return self._page()

    @expose("/begin", methods=("POST",))
    def begin(self) -> Redirect:
        return self._change(lambda writer, user: second_factor.begin_enrollment(writer, user, vault=container.vault()), None, ".scan")

    @expose("/scan", methods=("GET",))
    def scan(self) -> Any:
        stepup.require_recent_authentication()  # The page shows a secret.
        return self._scan_page() or redirect(self.get_url(".index"))

    @expose("/turn-on", methods=("POST",))
    def turn_on(self) -> Any:
        now = datetime.now(UTC)
        attempt = Attempt(str(require_member().id), request.remote_addr or "", kind="new code")
        try:
            with writing(refresh=False) as writer:
                if login_throttle.register(writer, attempt, now) is not None:
                    raise Invalid.field("code", "was wrong too often; wait five minutes")
            with writing(refresh=False) as writer:
                user = writer.get_one(User, require_member().id, with_for_update=True)
                codes = second_factor.confirm_enrollment(writer, user, request.form.get("code", ""), vault=container.vault(), now=now)
        except Invalid as error:
            return self._scan_page(error.errors[0].message) or redirect(self.get_url(".index"))
        return self._codes_page(codes, "The second factor is on")

    @expose("/codes", methods=("POST",))
    def codes(self) -> Any:
        try:
            with writing(refresh=False) as writer:
                codes = second_factor.renew_codes(writer, writer.get_one(User, require_member().id))
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".index"))
        return self._codes_page(codes, "New recovery codes")

    @expose("/remove", methods=("POST",))
    def remove(self) -> Redirect:
        if require_member().role in container.settings().second_factor_roles:
            flash("Your role has to have a second factor. You can set up another device in its place.", "error")
            return redirect(self.get_url(".index"))
        return self._change(
            lambda writer, user: second_factor.remove(writer, user, actor=user.email), "The second factor is off.", ".index"
        )

    def _change(self, run: Any, message: str | None, target: str) -> Redirect:
        try:
            with writing(refresh=False) as writer:
                run(writer, writer.get_one(User, require_member().id, with_for_update=True))
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".index"))
        if message:
            flash(message, "success")
        return redirect(self.get_url(target))

    def _page(self) -> Response:
        user = db.session.get_one(User, require_member().id)
        return make_response(
            self.render(
                "admin/accounts/second_factor.html",
                user=user,
                left=second_factor.count_unused_codes(db.session(), user.id),
                made=second_factor.CODE_COUNT,
                forced=stepup.requires_enrollment(),
                locked=container.vault().reason,
                bound=require_member().role in container.settings().second_factor_roles,
            )
        )

    def _scan_page(self, error: str | None = None) -> Response | None:
        """Return the page with the pending secret as a QR code and as text, or None if no enrollment is pending."""
        user = db.session.get_one(User, require_member().id)
        secret = second_factor.get_pending_secret_or_none(db.session(), user, vault=container.vault())
        if secret is None:
            return None
        grouped_secret = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
        picture = qr_code(second_factor.provisioning_uri(secret, user))
        page = self.render("admin/accounts/authenticator.html", picture=picture, secret=grouped_secret, error=error)
        return make_response(page, 422 if error else 200)

    def _codes_page(self, codes: list[str], title: str) -> Response:
        return make_response(self.render("admin/accounts/recovery_codes.html", codes=codes, title=title))


def qr_code(text: str) -> Markup:
    import segno

    svg = segno.make(text, error="m").svg_inline(omitsize=True, border=2, svgclass="qr-code", lineclass=None)
    return Markup(svg)  # noqa: S704 # segno generates the SVG from path data; it contains no user text
