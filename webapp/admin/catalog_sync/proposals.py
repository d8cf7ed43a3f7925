"""Proposals: compare a public catalog with the registry, select rows, approve them, and undo them."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose
from sqlalchemy import func, select
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView, is_id
from webapp.admin.core.confirmations import confirmation_page, confirmed_keys
from webapp.admin.core.fields import requested_page
from webapp.admin.jobs.job_presenter import JobView, view_model
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.catalog_diff import KINDS
from webapp.domain.catalog.catalog_guards import GUARDS, GuardLimits
from webapp.domain.catalog.price_diff import ModelDiffLine
from webapp.domain.shared.errors import ConfirmationRequired, Conflict, FieldError, Forbidden, Invalid, ModeldeskError
from webapp.extensions import db
from webapp.models import Proposal, ProposalRow
from webapp.price_sources import sources
from webapp.price_sources.sources import SOURCES, SourceCatalog
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import apply, proposal_jobs, proposal_names, proposals, source_copies
from webapp.services.catalog_sync.proposals import OPEN, Comparison, RowFilter
from webapp.services.jobs import queue
from webapp.web.auth import actor, has_permission

PAGE_SIZE = 50
JOB_STARTED = "The job was started. It continues if you leave this page."
CHOSEN_TARGET = "div#proposal-chosen"
STATUSES = {"open": ("Open", "blue"), "applied": ("Taken over", "green"), "undone": ("Undone", "neutral"), "closed": ("Closed", "neutral")}
FILTER_NAMES = ("kind", "guard", "provider", "word", "chosen")


class Proposals(GuardedView):
    """Proposal pages. Everyone who can read the registry can view them. Editors can open, select and approve."""

    needs = Permission.REGISTRY_READ
    purpose = "What public catalogues say about models and prices, compared with the registry. Nothing changes before somebody approves it."

    @expose("/")
    def index(self) -> str:
        rows = proposals.list_proposals(db.session())
        return self.render("admin/catalog_sync/list.html", rows=rows, statuses=STATUSES, may_edit=can_edit())

    @expose("/new", methods=("GET", "POST"))
    def create(self) -> Any:
        require_edit_permission()
        errors: dict[str, str] = {}
        if request.method == "POST":
            try:
                return redirect(self.get_url(".details", number=_open_proposal()))
            except Invalid as error:
                errors = {field_error.field: field_error.message for field_error in error.errors} or {"": error.detail}
            except Conflict as error:
                flash(error.detail, "success" if error.code == "no_difference" else "error")
                return redirect(self.get_url(".index"))
        page = self.render(
            "admin/catalog_sync/new.html", sources=SOURCES, errors=errors, typed=request.form, most=sources.MAX_BYTES // 1_000_000
        )
        return Response(page, 422 if errors else 200)

    @expose("/<number>/")
    def details(self, number: str) -> str:
        row, row_filter = self._find_proposal(number), _row_filter()
        session, page = db.session(), requested_page(request.args)
        condition = ProposalRow.proposal_id == row.id
        counts = select(func.count(), func.count().filter(ProposalRow.choosable)).where(condition, row_filter.condition())
        matching, choosable = session.execute(counts).one()
        query = select(ProposalRow).where(condition, row_filter.condition()).order_by(ProposalRow.ref)
        rows = session.execute(query.offset(page * PAGE_SIZE).limit(PAGE_SIZE)).scalars().all()
        provider_query = select(ProposalRow.provider).where(condition).distinct().order_by(ProposalRow.provider)
        return self.render(
            "admin/catalog_sync/details.html",
            row=row,
            rows=[_row_view_model(proposal_row) for proposal_row in rows],
            matching=matching,
            choosable=choosable,
            page=page,
            asked=_filter_values(),
            pages=-(-matching // PAGE_SIZE),
            kinds=KINDS,
            guards=GUARDS,
            providers=session.execute(provider_query).scalars().all(),
            job=self._job_view(row),
            **self._summary(row),
        )

    @expose("/<number>/choose", methods=("POST",))
    def choose(self, number: str) -> Any:
        """Store the selection of one page, or with `all` select or deselect every row that matches the filters."""
        require_edit_permission()
        row = self._find_proposal(number)
        held = 0
        try:
            with writing(refresh=False) as session:
                if request.form.get("all") in ("1", "0"):
                    held = proposals.choose_matching(session, row.id, _row_filter(), request.form["all"] == "1")
                else:
                    shown, chosen = _form_ids("shown"), _form_ids("chosen")
                    proposals.choose(session, row.id, ProposalRow.id.in_(chosen), True)
                    proposals.choose(session, row.id, ProposalRow.id.in_([row_id for row_id in shown if row_id not in chosen]), False)
        except ModeldeskError as error:
            if "HX-Request" in request.headers:
                raise
            flash(error.detail, "error")
        if held:
            flash(_held_message(held), "warning")
        if "HX-Request" in request.headers:
            return self.render("admin/catalog_sync/_chosen.html", row=row, **self._summary(row))
        return redirect(self.get_url(".details", number=number, **_filter_values(), page=request.form.get("page", 0, type=int)))

    @expose("/<number>/<any(approve,undo,close):what>", methods=("POST",))
    def act(self, number: str, what: str) -> Redirect | Response:
        require_edit_permission()
        try:
            with writing() as session:
                message = ACTIONS[what](session, self._find_proposal(number).id)
        except ConfirmationRequired as error:
            return confirmation_page(self, error)
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash(message, "success")
        return redirect(self.get_url(".details", number=number))

    def _find_proposal(self, proposal_id: str) -> Proposal:
        return proposals.find(db.session(), int(proposal_id) if is_id(proposal_id) else 0)

    def _job_view(self, row: Proposal) -> JobView | None:
        """Return the newest job of the proposal."""
        job = queue.get_latest_or_none(db.session(), "proposal", row.id)
        return None if job is None else view_model(db.session(), job)

    def _summary(self, row: Proposal) -> dict[str, Any]:
        session = db.session()
        job = queue.get_active_or_none(session, "proposal", row.id)
        query = (
            select(ProposalRow.kind, func.count()).where(ProposalRow.proposal_id == row.id, ProposalRow.chosen).group_by(ProposalRow.kind)
        )
        by_kind: dict[str, int] = {kind: count for kind, count in session.execute(query)}  # noqa: C416 # mypy does not accept a Row as a pair
        return {
            "chosen": sum(by_kind.values()),
            "by_kind": by_kind,
            "marked": proposals.count_chosen(session, row.id, marked=True),
            "confirmations": proposal_names.list_confirmations(session, row.id) if row.status == OPEN else [],
            "seal": proposals.selection_digest(session, row.id),
            "may_edit": can_edit(),
            "is_open": row.status == OPEN and job is None,
            "is_busy": job is not None,
            "needs_other": container.settings().four_eyes and row.opened_by == actor(),
            "statuses": STATUSES,
        }


def can_edit() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def require_edit_permission() -> None:
    if not can_edit():
        raise Forbidden("Your role does not allow this. Ask an admin.")


def _open_proposal() -> int:
    """Compare the selected catalog with the registry and store the proposal. Returns its id."""
    catalog = _read_source("source", "file")
    second = _read_source("second", "second_file") if request.form.get("second") else None
    registry = container.current().registry
    registry.refresh()
    limits = GuardLimits(percent=container.settings().sync_percent)
    now = datetime.now(UTC)
    try:
        with writing(refresh=False) as session:
            second_opinion = source_copies.keep_and_find_second(session, catalog, second, now)
            shrunk = source_copies.is_shrunk(session, catalog, limits)
            comparison = Comparison(registry.snapshot, catalog, second_opinion, limits, now, shrunk)
            return proposals.open_proposal(session, comparison, actor=actor()).id
    except Conflict:
        with writing(refresh=False) as session:  # Nothing is proposed, but the file is the last one of its source.
            source_copies.keep_and_find_second(session, catalog, second, now)
        raise


def _read_source(source: str, file: str) -> SourceCatalog:
    """Read a source of the form. Raises `Invalid` with the names of the form's fields."""
    upload = request.files.get(file)
    data = upload.stream.read(sources.MAX_BYTES + 1) if upload and upload.filename else None
    if upload:
        upload.close()
    try:
        return sources.read_catalog(request.form.get(source, ""), data)
    except Invalid as error:
        fields = {"source": source, "file": file}
        raise Invalid.of(
            FieldError(fields.get(field_error.field, field_error.field), field_error.message) for field_error in error.errors
        ) from None


def _held_message(count: int) -> str:
    rows = "1 row is" if count == 1 else f"{count:,} rows are"
    reasons = "a rate disappears, moves by more than 3 times or to zero, or a name in use gets another meaning"
    return f"{rows} not selected: {reasons}. Check such rows and select each on its own."


def _filter_values() -> dict[str, str]:
    return {name: text for name in FILTER_NAMES if (text := request.values.get(name, "").replace("\0", "").strip()[:200])}


def _row_filter() -> RowFilter:
    return RowFilter(**_filter_values())


def _form_ids(name: str) -> list[int]:
    return [int(text) for text in request.form.getlist(name)[: 2 * PAGE_SIZE] if is_id(text)]


def _row_view_model(row: ProposalRow) -> dict[str, Any]:
    return {"row": row, "lines": [ModelDiffLine(*line) for line in row.lines], "guards": [name for name in row.guards.split(",") if name]}


def _approve(session: Any, proposal_id: int) -> str:
    approval = apply.Approval(actor(), datetime.now(UTC), container.settings().four_eyes, request.form.get("seal", ""), confirmed_keys())
    if proposals.count_chosen(session, proposal_id) > proposal_jobs.MAX_ATOMIC_ROWS:
        proposal_jobs.start_apply(session, proposal_id, approval)
        return JOB_STARTED
    proposal = apply.apply(session, proposal_id, approval)
    count = proposals.count_chosen(session, proposal.id)
    return f"{count:,} row{'s were' if count != 1 else ' was'} taken over. Undo takes all of them back."


def _undo(session: Any, proposal_id: int) -> str:
    if proposals.count_chosen(session, proposal_id) > proposal_jobs.MAX_ATOMIC_ROWS:
        proposal_jobs.start_undo(session, proposal_id, actor=actor(), confirmed=confirmed_keys())
        return JOB_STARTED
    rows = apply.undo(session, proposal_id, actor=actor(), confirmed=confirmed_keys())
    if not rows:
        return "Taken back: prices, notes and sources by marked corrections. New models that nothing uses gave up their names."
    return f"Taken back, but for {len(rows):,} row{'s' if len(rows) != 1 else ''}: {'; '.join(rows[:5])}{' …' if len(rows) > 5 else ''}"


def _close(session: Any, proposal_id: int) -> str:
    proposals.close(session, proposal_id, actor=actor())
    return "Closed. Nothing was taken over."


ACTIONS = {"approve": _approve, "undo": _undo, "close": _close}
