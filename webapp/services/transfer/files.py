"""Import and export of registry files: the whole registry as YAML or JSON, its models as CSV. Imports are audited."""

import codecs
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from webapp.domain.catalog.name_changes import combine_confirmations
from webapp.domain.shared.errors import FieldError, Malformed, require_confirmed
from webapp.price_sources import foreign_files
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names
from webapp.services.transfer import model_csv, registry_export, registry_import, registry_yaml
from webapp.services.transfer.import_rows import ADDED, CHANGED, ImportReport, PreparedImport
from webapp.services.transfer.registry_import import ImportContext
from webapp.services.transfer.registry_yaml import ParsedRegistryFile

YAML, JSON, CSV = FORMATS = ("yaml", "json", "csv")
FORMAT_BY_SUFFIX: Mapping[str, str] = {".json": JSON, ".csv": CSV, ".yaml": YAML, ".yml": YAML}


class Upload(NamedTuple):
    """An uploaded file with its name (for the audit log) and format.

    `parsed` holds its content after parsing, and `prepared` its rows after validation. The rows of a CSV file are those at `revision`.
    """

    name: str
    format: str
    text: str
    parsed: ParsedRegistryFile | None = None
    prepared: PreparedImport | None = None
    revision: int | None = None


def format_of(name: str) -> str | None:
    """Return the format for a file name's suffix, or None."""
    return next((file_format for suffix, file_format in FORMAT_BY_SUFFIX.items() if name.lower().endswith(suffix)), None)


def decode_text(data: bytes) -> str:
    """Return the file's text: UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it.

    Raises `Malformed` if it is too large, in another encoding, or recognized as a file of another program.
    """
    if len(data) > registry_yaml.MAX_BYTES:
        raise Malformed(f"The file is larger than {registry_yaml.MAX_BYTES // 1_000_000} MB.")
    encoding = "UTF-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "UTF-8"
    try:
        text = data.decode("utf-16" if encoding == "UTF-16" else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Malformed(f"Line {line}: this is not {encoding} text. Save the file as UTF-8 and try again.") from None
    if reason := foreign_files.describe_foreign_file(text):
        raise Malformed(reason, [FieldError("file", reason)])
    return text


def export(session: Session, file_format: str, at: datetime) -> str:
    """Return the export in this format, the same text for the same registry. A CSV file contains the prices in force at `at`."""
    if file_format == CSV:
        return model_csv.export_models(session, at)
    return registry_yaml.serialize(registry_export.export_document(session), as_json=file_format == JSON)


def parse_upload(upload: Upload) -> Upload:
    """Parse a file if its format needs no database. Raises `Malformed`.

    This happens before the write transaction, which blocks all other writers.
    """
    return upload if upload.format == CSV else upload._replace(parsed=registry_yaml.parse_registry(upload.text))


def prepare_upload(session: Session, upload: Upload, at: datetime) -> Upload:
    """Read and validate a file, before the write transaction. Raises `Malformed`, or `Invalid` with at most 50 errors.

    A CSV file is merged into the current models. A later import repeats that if the registry changed since.
    """
    current = revision.read(session)
    if upload.format == CSV:
        parsed = model_csv.parse_models(session, upload.text, at)
    else:
        parsed = upload.parsed or registry_yaml.parse_registry(upload.text)
    return upload._replace(parsed=parsed, prepared=registry_import.prepare(parsed), revision=current)


def import_upload(session: Session, upload: Upload, context: ImportContext, at: datetime) -> ImportReport:
    """Import a file, all or nothing. The caller's transaction decides whether the changes stay. A comparison stores nothing.

    Raises `Invalid`, or `ConfirmationRequired` if names in use get another meaning or a new id differs from another only in case.
    """
    current = revision.lock(session).revision
    if upload.prepared is None or (upload.format == CSV and upload.revision != current):
        upload = prepare_upload(session, upload, at)
    with model_names.collect_confirmations(session) as confirmations:
        report = registry_import.apply_entries(session, upload.prepared, context) if upload.prepared else ImportReport()
    # One confirmation for all ids, so that a whole registry with many of them can be imported.
    report.confirmations = [*combine_confirmations(report.confirmations), *confirmations]
    if context.is_preview:
        return report
    require_confirmed(report.confirmations, context.confirmed)
    counts = report.counts()
    if counts[ADDED] or counts[CHANGED]:
        after = {"form": upload.format, **counts} | model_names.confirmed_values(report.confirmations)
        audit_log.record(
            session,
            "catalog:file:import",
            actor=context.actor,
            target=Target("catalog", None, upload.name),
            change=AuditChange(None, after),
        )
    return report
