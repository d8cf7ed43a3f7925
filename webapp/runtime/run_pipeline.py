"""Running an incident, for the page and the endpoint alike: plan, count, ask, record."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from webapp.domain.catalog.snapshot import project_snapshot
from webapp.domain.incidents.incidents import Incident
from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.credentials import key_access
from webapp.services.credentials.key_access import Caller, LimitReached
from webapp.services.runs import execution, planning, records, response_cache
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How an incident is to be run. Without a `model` Modeldesk chooses one; `local` asks for the local rules; `anew` overlooks the cache.

    `caller` says whose keys can be used.
    """

    model: str | None = None
    template: str | None = None
    local: bool = False
    skip_cache: bool = False
    caller: Caller = field(kw_only=True)


def run_incident(incident: Incident, wanted: RunOptions, *, actor: str) -> Run:
    """Runs an incident and gives the recorded run. The database is let go while the provider is asked: that may take a minute."""
    if wanted.model is not None and not wanted.model.strip():
        raise Invalid.field("model", "must not be empty; leave it out to let Modeldesk choose")
    planned = plan_run(incident, wanted)
    key = _cache_key(planned)
    outcome = None if wanted.skip_cache else _cached_outcome(planned, key)
    if outcome is None:
        with _call_slot(planned.endpoint is not None, actor):
            outcome = execute_plan(planned)
    with writing(refresh=False) as session:
        run = records.record(session, planned, outcome, actor=actor)
        if key is not None and outcome.cached_from is not None:
            response_cache.count_hit(session, key)
        elif key is not None and outcome.status == "succeeded" and outcome.text is not None:
            response_cache.store(session, _cache_entry(key, planned, outcome, run))
        return run


def _call_slot(for_a_provider: bool, actor: str) -> AbstractContextManager[None]:
    """A turn for a request that is going to wait for a provider. Raises `TooManyAtOnce`."""
    return container.current().call_limiter.acquire(actor) if for_a_provider else nullcontext()


def plan_run(incident: Incident, wanted: RunOptions) -> RunPlan:
    """What would run, and how; nothing is asked or stored."""
    if wanted.local:
        return planning.plan_local(incident, wanted.caller)
    return planning.plan(db.session(), planning_context(wanted.caller), incident, model=wanted.model, template=wanted.template)


def planning_context(caller: Caller) -> planning.PlanningContext:
    """What planning can use on behalf of this caller."""
    snapshot = project_snapshot(container.registry().snapshot, caller.project, datetime.now(UTC))
    return planning.PlanningContext(snapshot, container.vault(), container.settings().environment, caller)


def execute_plan(planned: RunPlan) -> RunOutcome:
    """Counts the call and asks. A key that is used up is an outcome like any other failure."""
    try:
        if planned.key is not None and planned.refusal_reason is None:
            with writing(refresh=False) as session:
                key_access.consume_call(session, planned.key)
    except LimitReached as error:
        return execution.refused_outcome(planned, error)
    db.session.rollback()
    return execution.execute(planned, container.current().outbound)


def _cache_key(planned: RunPlan) -> str | None:
    """What an answer would be remembered under; None where the template wants none to be."""
    if planned.endpoint is None or planned.request is None or planned.refusal_reason or not planned.template.cache_minutes:
        return None
    return response_cache.cache_key(
        planned.endpoint, planned.request, f"{planned.template.name} {planned.template.version}", planned.caller.visibility_group
    )


def _cached_outcome(planned: RunPlan, key: str | None) -> RunOutcome | None:
    found = response_cache.get_hit_or_none(db.session(), key) if key is not None else None
    return execution.cached_outcome(planned, found) if found else None


def _cache_entry(key: str, planned: RunPlan, outcome: RunOutcome, run: Run) -> response_cache.CacheEntry:
    usage = outcome.usage.as_dict() if outcome.usage else None
    minutes = planned.template.cache_minutes
    return response_cache.CacheEntry(key, planned.template.name, run.model_ref, outcome.text or "", usage, run.public_id, minutes)
