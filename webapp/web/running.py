"""Running an incident, for the page and the endpoint alike: plan, ask, record."""

from webapp.domain.errors import Invalid
from webapp.domain.incidents import Incident
from webapp.extensions import db
from webapp.models import Run
from webapp.services import asking, planning, runs
from webapp.web import current
from webapp.web.transaction import writing


def run_incident(incident: Incident, *, actor: str, model: str | None = None, template: str | None = None, local: bool = False) -> Run:
    """Runs an incident and gives the recorded run. The database is let go while the provider is asked: that may take a minute.

    Without a `model` Modeldesk chooses one; `local` asks for the local rules.
    """
    if model is not None and not model.strip():
        raise Invalid.field("model", "must not be empty; leave it out to let Modeldesk choose")
    planned = planning.plan_local(incident) if local else planned_run(incident, model=model, template=template)
    db.session.rollback()
    outcome = asking.execute(planned, current.desk().outbound)
    with writing(refresh=False) as session:
        return runs.record(session, planned, outcome, actor=actor)


def planned_run(incident: Incident, *, model: str | None = None, template: str | None = None) -> planning.Plan:
    """What would run, and how; nothing is asked or stored."""
    means = planning.Means(current.registry().snapshot, current.vault(), current.settings().environment)
    return planning.plan(db.session(), means, incident, model=model, template=template)
