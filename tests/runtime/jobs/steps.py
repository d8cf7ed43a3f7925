"""Steps of the job tests: a large proposal, and a worker that runs one chunk at a time."""

from datetime import UTC, datetime

from services.catalog_sync.test_proposals import NEW, offered, opened_catalog
from sqlalchemy import func, select

from webapp.extensions import db
from webapp.models import AuditEvent, Job, Model, ProposalRow
from webapp.price_sources.sources import SourceCatalog
from webapp.runtime.job_worker import JobWorker
from webapp.runtime.transaction import writing
from webapp.services.catalog_sync import proposal_jobs, proposals
from webapp.services.catalog_sync.apply import Approval

PRICES = offered()["prices"]


def large_proposal(count: int = 5) -> int:
    """Open a proposal of `count` new models, all selected."""
    rows = [NEW | {"model_id": f"fresh-{number:04}", "prices": PRICES} for number in range(count)]
    names = [{"slug": "newcomer", "display_name": "The newcomer"}]
    return opened_catalog(SourceCatalog("acme-list", "version 1", "0" * 64, names, rows, fields_read=1))


def approval_of(proposal_id: int, **overrides) -> Approval:
    digest = proposals.selection_digest(db.session(), proposal_id)
    return Approval(**({"actor": "bob", "at": datetime.now(UTC), "four_eyes": True, "selection_digest": digest} | overrides))


def start_apply(proposal_id: int) -> int:
    with writing() as session:
        return proposal_jobs.start_apply(session, proposal_id, approval_of(proposal_id)).id


def start_undo(proposal_id: int) -> int:
    with writing() as session:
        return proposal_jobs.start_undo(session, proposal_id, actor="ann").id


def run_jobs() -> int:
    count = JobWorker().run_pending()
    db.session.expire_all()
    return count


def job_of(job_id: int) -> Job:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get(Job, job_id)


def added_models() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(Model).where(Model.model_id.like("fresh-%"))).scalar_one()


def events(action: str) -> list[AuditEvent]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)).scalars())


def chosen_rows(proposal_id: int) -> list[ProposalRow]:
    query = select(ProposalRow).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen).order_by(ProposalRow.ref)
    return list(db.session.execute(query).scalars())
