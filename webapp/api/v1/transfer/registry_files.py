"""Export and import of the registry as a file over HTTP. The same rules apply as at every other entry point."""

import hashlib
from typing import Any

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from webapp.api.v1.catalog.registry_views import utc_now
from webapp.api.v1.core.json_body import parse_json_object
from webapp.api.v1.core.parameters import BOOLEAN, CONFIRM, Parameter, choice_parameter, parse_boolean, read_query
from webapp.api.v1.core.responses import conditional_response, encode, json_response
from webapp.api.v1.core.row_parameters import refreshed_registry
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.transaction import comparing, writing
from webapp.services.transfer import files, registry_yaml
from webapp.services.transfer.files import CSV, FORMATS, JSON, YAML, Upload
from webapp.services.transfer.import_rows import SAME, ImportReport
from webapp.services.transfer.registry_import import ImportContext
from webapp.web.auth import actor

CONTENT_TYPES = {JSON: "application/json", YAML: "application/yaml", CSV: "text/csv"}
EXPORT_QUERY = (
    choice_parameter("format", FORMATS, "json (if left out) or yaml for the whole catalogue, csv for models with their present prices."),
)
IMPORT_QUERY = (Parameter("dry_run", parse_boolean, {**BOOLEAN, "default": False}, "true: only say what would change."), CONFIRM)


def export_catalogue() -> Response:
    file_format = read_query(EXPORT_QUERY).get("format", JSON)
    try:
        body = files.export(db.session(), file_format, utc_now()).encode()
    finally:
        db.session.rollback()  # On SQLite an open read blocks every writer.
    return conditional_response(refreshed_registry().snapshot, hashlib.sha256(body).hexdigest()[:32], body, CONTENT_TYPES[file_format])


def import_catalogue() -> Response:
    query = read_query(IMPORT_QUERY)
    dry_run = query.get("dry_run", False)
    context = ImportContext(actor(), container.current().outbound, query.get("confirm", ()), is_preview=dry_run)
    at = utc_now()
    with comparing() as session:
        upload = files.prepare_upload(session, files.parse_upload(_read_upload()), at)
    with comparing() if dry_run else writing() as session:
        report = files.import_upload(session, upload, context, at)
    return json_response(refreshed_registry().snapshot, encode(_import_document(report, dry_run=dry_run)))


def _read_upload() -> Upload:
    """Read the body in the format of its content type."""
    file_format = next((file_format for file_format, content_type in CONTENT_TYPES.items() if request.mimetype == content_type), None)
    if file_format is None or request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "utf-16"):
        raise UnsupportedMediaType(f"Send the file in UTF-8 or UTF-16, with its kind as Content-Type: {', '.join(CONTENT_TYPES.values())}.")
    body = request.get_data(cache=False)
    if len(body) > registry_yaml.MAX_BYTES:
        raise RequestEntityTooLarge(f"A file may have {registry_yaml.MAX_BYTES:,} bytes.")
    text = files.decode_text(body)
    if file_format == JSON:
        parse_json_object(body)  # The file reader accepts YAML, which is more than the declared content type.
    return Upload("over HTTP", file_format, text)


def _import_document(report: ImportReport, *, dry_run: bool) -> dict[str, Any]:
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
    confirmations = [confirmation.document() for confirmation in report.confirmations]
    return {"dry_run": dry_run, **report.counts(), "changes": changes, "confirmations": confirmations}
