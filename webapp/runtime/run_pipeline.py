"""Incident runs for the page and the endpoint: plan the run, count the call, execute it, record the outcome."""

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
    """The options of a run. Without a `model`, Modeldesk chooses one.

    `local` uses the built-in rules. `skip_cache` ignores cached responses. `caller` determines the usable keys.
    """

    model: str | None = None
    template: str | None = None
    local: bool = False
    skip_cache: bool = False
    caller: Caller = field(kw_only=True)


def run_incident(incident: Incident, options: RunOptions, *, actor: str) -> Run:
    """Run an incident and return the recorded run.

    No database connection is held during the provider call, which can take a minute.
    """
    if options.model is not None and not options.model.strip():
        raise Invalid.field("model", "must not be empty; leave it out to let Modeldesk choose")
    planned = plan_run(incident, options)
    key = _cache_key(planned)
    outcome = None if options.skip_cache else _cached_outcome(planned, key)
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


def _call_slot(calls_provider: bool, actor: str) -> AbstractContextManager[None]:
    """Return a slot of the call limiter for a provider call, else a null context. Raises `TooManyConcurrentCalls`."""
    return container.current().call_limiter.acquire(actor) if calls_provider else nullcontext()


def plan_run(incident: Incident, options: RunOptions) -> RunPlan:
    """Return the plan of a run. Nothing is sent or stored."""
    if options.local:
        return planning.plan_local(incident, options.caller)
    return planning.plan(db.session(), planning_context(options.caller), incident, model=options.model, template=options.template)


def planning_context(caller: Caller) -> planning.PlanningContext:
    """Return the planning context of this caller."""
    snapshot = project_snapshot(container.registry().snapshot, caller.project, datetime.now(UTC))
    return planning.PlanningContext(snapshot, container.vault(), container.settings().environment, caller)


def execute_plan(planned: RunPlan) -> RunOutcome:
    """Count the call and send it. An exhausted key is an outcome like any other failure."""
    try:
        if planned.key is not None and planned.refusal_reason is None:
            with writing(refresh=False) as session:
                key_access.consume_call(session, planned.key)
    except LimitReached as error:
        return execution.refused_outcome(planned, error)
    db.session.rollback()
    return execution.execute(planned, container.current().outbound)


def _cache_key(planned: RunPlan) -> str | None:
    """Return the cache key of the response, or None if it is not cacheable."""
    if planned.endpoint is None or planned.request is None or planned.refusal_reason or not planned.template.cache_minutes:
        return None
    return response_cache.cache_key(
        planned.endpoint, planned.request, f"{planned.template.name} {planned.template.version}", planned.caller.visibility_group
    )


def _cached_outcome(planned: RunPlan, key: str | None) -> RunOutcome | None:
    hit = response_cache.get_hit_or_none(db.session(), key) if key is not None else None
    return execution.cached_outcome(planned, hit) if hit else None


def _cache_entry(key: str, planned: RunPlan, outcome: RunOutcome, run: Run) -> response_cache.CacheEntry:
    usage = outcome.usage.document() if outcome.usage else None
    minutes = planned.template.cache_minutes
    return response_cache.CacheEntry(key, planned.template.name, run.model_ref, outcome.text or "", usage, run.public_id, minutes)
