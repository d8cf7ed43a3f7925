"""Connection tests and model discovery on the provider pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from webapp.admin.core.confirmations import confirmation_page, confirmed_keys
from webapp.admin.core.formatters import tag, time_tag
from webapp.admin.core.lists import RowsView
from webapp.domain.catalog.discovery import BLOCKED, GONE, KNOWN, MAX_LISTED, NEW, ListedModel, select_page
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.shared.errors import ConfirmationRequired, Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import Provider, ProviderCheck
from webapp.runtime import container
from webapp.runtime.run_pipeline import planning_context
from webapp.runtime.transaction import writing
from webapp.services.runs import connection_tests
from webapp.services.runs.connection_tests import SelectedModel
from webapp.web.auth import caller, has_permission

DISCOVERY_STATES: Mapping[str, tuple[str, str]] = {
    NEW: ("New", "blue"),
    BLOCKED: ("Cannot be added", "red"),
    GONE: ("No longer listed", "yellow"),
    KNOWN: ("Known", "neutral"),
}
MAX_QUERY = 200


class ConnectionTestMixin(RowsView):
    """Endpoints that send requests to the provider. A test stores its result. Discovery changes nothing until models are selected."""

    @expose("/<id>/check", methods=("POST",))
    def check(self, id: str) -> ResponseReturnValue:
        self.require_permission(has_permission(self.needs_to_edit))
        provider = self.find_row(id)
        probe = connection_tests.prepare(db.session(), planning_context(caller()), provider)
        name = provider.display_name
        db.session.rollback()  # Release the database connection, because the provider can be slow.
        with container.current().call_limiter.acquire(self.actor()):
            result = connection_tests.check(probe, container.current().outbound)
        with writing(refresh=False) as session:
            row = connection_tests.record_check(session, probe, result, actor=self.actor())
            view = check_view_model(row)
        if request.headers.get("HX-Request"):
            return Response(self.render("admin/catalog/providers/_check.html", check=view, model=self.find_row(id), may_check=True))
        flash(f"{name}: {result.detail}", "success" if result.ok else "error")
        return redirect(self.get_url(".details_view", id=id))

    @expose("/<id>/discover", methods=("GET",))
    def discover(self, id: str) -> Any:
        self.require_permission(has_permission(self.needs_to_edit))
        provider = self.find_row(id)
        try:
            upstream = self._list_upstream_models(provider, refresh=request.args.get("anew") == "1")
        except ModeldeskError as error:
            return_url = self.get_url(".details_view", id=provider.id)
            page = self.render(
                "admin/catalog/providers/discover.html", model=provider, review=None, why=error.detail, return_url=return_url
            )
            return Response(page, 409 if error.status < 500 else 502)
        return self._review_page(provider, upstream)

    @expose("/<id>/discover", methods=("POST",))
    def add_discovered(self, id: str) -> ResponseReturnValue:
        """Add the selected models, or go to another page of the review with the selection of all pages."""
        self.require_permission(has_permission(self.needs_to_edit))
        provider = self.find_row(id)
        selected = _selected_models()
        upstream: Sequence[ListedModel] = ()
        try:
            upstream = self._list_upstream_models(provider, refresh=False)
            if "page" in request.form:
                return self._review_page(self.find_row(id), upstream)
            if not selected:
                raise Invalid("Nothing was added: tick the models that you want.")
            with writing() as session:
                confirmed = confirmed_keys()
                added = connection_tests.add_models(session, self.find_row(id), upstream, selected, actor=self.actor(), confirmed=confirmed)
                active = sum(model.is_active for model in added)
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        except ModeldeskError as error:
            return Response(self._review_page(self.find_row(id), upstream, error.detail), error.status)
        count = len(added)
        message = f"{count:,} model{'s' if count != 1 else ''} of {provider.display_name} added, {active:,} of them active."
        flash(f"{message} Their prices are unknown until somebody enters them.", "success")
        return redirect(url_for("model.index_view", flt0_provider_equals=provider.slug))

    def _review_page(self, provider: Provider, upstream: Sequence[ListedModel], problem: str = "") -> str:
        page = request.values.get("page", "")
        query, state = request.values.get("q", "")[:MAX_QUERY], request.values.get("state", "")
        rows = connection_tests.review(db.session(), provider, upstream)
        review = select_page(
            rows, query=query, state=state if state in DISCOVERY_STATES else "", page=int(page) if page.isdecimal() and len(page) < 6 else 1
        )
        selection = {model.model_id: model for model in _selected_models()}
        here = {confirmation.key for row in review.rows for confirmation in row.confirmations}
        return self.render(
            "admin/catalog/providers/discover.html",
            model=provider,
            review=review,
            query=query,
            state=state,
            selection=selection,
            elsewhere=[selection[name] for name in selection.keys() - {row.model_id for row in review.rows}],
            confirmed=confirmed_keys(),
            confirmed_elsewhere=[key for key in confirmed_keys() if key not in here],
            problem=problem,
            cut=len(upstream) >= MAX_LISTED,
            max_listed=MAX_LISTED,
            states=DISCOVERY_STATES,
            types=MODEL_TYPES,
            return_url=self.get_url(".details_view", id=provider.id),
        )

    def _list_upstream_models(self, provider: Provider, *, refresh: bool) -> Any:
        probe = connection_tests.prepare(db.session(), planning_context(caller()), provider)
        db.session.rollback()
        with container.current().call_limiter.acquire(self.actor()):
            return connection_tests.list_upstream_models(probe, container.current().outbound, refresh=refresh)


def _selected_models() -> list[SelectedModel]:
    """Return the selected rows: their names, and the type and state chosen for each."""
    names = dict.fromkeys(request.form.getlist("model"))
    active = set(request.form.getlist("active"))
    return [SelectedModel(name, request.form.get(f"type:{name}", "text"), name in active) for name in names]


def check_view_model(row: ProviderCheck | None, provider: Provider | None = None) -> dict[str, Any] | None:
    """Return a connection test as pages show it. It is outdated if a key of the provider was entered after it."""
    if row is None:
        return None
    method = "a short question, which may be billed" if row.how == "asked" else "a list of its models, which costs nothing"
    return {
        "tag": tag("Works", "green") if row.ok else tag("Does not work", "red"),
        "ok": row.ok,
        "detail": row.detail,
        "how": method,
        "when": time_tag(row.created_at),
        "actor": row.actor,
        "latency": f"{row.latency_ms:,} ms",
        "key": row.key_source,
        "request_id": row.request_id,
        "sent": row.kind != "no_key",
        "outdated": provider is not None and any(key.created_at > row.created_at for key in provider.credentials),
    }
