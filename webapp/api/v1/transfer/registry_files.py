"""The catalogue as a file over HTTP: out in three forms, in with a dry run. The rules are those of every other door."""

import hashlib
from typing import Any

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from webapp.api.v1.catalog.registry_views import utc_now
from webapp.api.v1.core.json_body import parse_object
from webapp.api.v1.core.parameters import BOOLEAN, Parameter, chosen, read, truth
from webapp.api.v1.core.responses import answer, conditional, encode
from webapp.api.v1.core.row_parameters import fresh
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import rehearsing, writing
from webapp.services.transfer import files, registry_yaml
from webapp.services.transfer.files import CSV, FORMS, JSON, YAML, Upload
from webapp.services.transfer.import_rows import SAME, Report
from webapp.services.transfer.registry_import import Importing
from webapp.web.auth import actor

TYPES = {JSON: "application/json", YAML: "application/yaml", CSV: "text/csv"}
EXPORT_QUERY = (chosen("format", FORMS, "json (if left out) or yaml for the whole catalogue, csv for models with their present prices."),)
IMPORT_QUERY = (Parameter("dry_run", truth, {**BOOLEAN, "default": False}, "true: only say what would change."),)


def export_catalogue() -> Response:
    form = read(EXPORT_QUERY).get("format", JSON)
    try:
        body = files.export(db.session(), form, utc_now()).encode()
    finally:
        db.session.rollback()  # On SQLite an open read keeps every writer waiting.
    return conditional(fresh().snapshot, hashlib.sha256(body).hexdigest()[:32], body, TYPES[form])


def import_catalogue() -> Response:
    dry_run = read(IMPORT_QUERY).get("dry_run", False)
    upload = files.looked_through(_received())
    with rehearsing() if dry_run else writing() as session:
        report = files.bring(session, upload, Importing(actor(), container.current().outbound), utc_now())
    return answer(fresh().snapshot, encode(_document(report, dry_run=dry_run)))


def _received() -> Upload:
    """The body in the form that its content type names."""
    form = next((form for form, kind in TYPES.items() if request.mimetype == kind), None)
    if form is None or request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(f"Send the file in UTF-8, with its kind as Content-Type: {', '.join(TYPES.values())}.")
    body = request.get_data(cache=False)
    if len(body) > registry_yaml.MAX_BYTES:
        raise RequestEntityTooLarge(f"A file may have {registry_yaml.MAX_BYTES:,} bytes.")
    if form == JSON:
        parse_object(body)  # The reader of files takes YAML, which is more than what was announced.
    return Upload("over HTTP", form, files.text_of(body))


def _document(report: Report, *, dry_run: bool) -> dict[str, Any]:
    changes = [
        {
            "kind": change.kind,
            "name": change.name,
            "state": change.state,
            "fields": [line._asdict() for line in change.lines],
            "questions": change.questions,
        }
        for change in report.changes
        if change.state != SAME
    ]
    return {"dry_run": dry_run, **report.counts(), "changes": changes}
