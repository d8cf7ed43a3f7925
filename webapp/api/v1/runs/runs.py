"""Endpoints to run an incident on a model or the built-in rules, and to read the result."""

from collections.abc import Mapping

from flask import Response, g

from webapp import __version__
from webapp.api.v1.core.encoded_registry import request_registry
from webapp.api.v1.core.json_body import check_object, parse_float, read_json_object
from webapp.api.v1.core.responses import conditional_response, encode, json_response
from webapp.domain.incidents.incidents import incident_from
from webapp.domain.shared import validators
from webapp.domain.shared.errors import NotFound
from webapp.domain.shared.validators import Check, validate
from webapp.extensions import db
from webapp.runtime.run_pipeline import RunOptions, run_incident
from webapp.services.runs import records
from webapp.web.auth import actor, caller

RUN_CHECKS: Mapping[str, Check] = {
    "incident": check_object,
    "model": validators.optional(validators.line(300, 1)),
    "template": validators.optional(validators.line(100, 1)),
    "cache": validators.boolean,
}
MAX_ID = 60


def start_run() -> Response:
    values = validate(read_json_object(parse_float), RUN_CHECKS, ("incident",))
    incident = incident_from(values["incident"])
    run = run_incident(
        incident,
        RunOptions(values.get("model"), values.get("template"), skip_cache=not values.get("cache", True), caller=caller()),
        actor=actor(),
    )
    headers, body = {"Location": f"/api/v1/runs/{run.public_id}"}, encode(records.run_document(run))
    db.session.rollback()  # The recorded run was read again. On SQLite an open read blocks every writer.
    return json_response(request_registry().snapshot, body, 201, headers)


def get_run(run_id: str) -> Response:
    if len(run_id) > MAX_ID or not run_id.isascii() or not run_id.isprintable():
        raise NotFound(records.NO_RUN)
    try:
        document = records.run_document(records.find_in_project(db.session(), run_id, g.token.project))
    finally:
        db.session.rollback()  # On SQLite an open read blocks every writer.
    return conditional_response(request_registry().snapshot, f"{__version__}.{document['id']}", encode(document))
