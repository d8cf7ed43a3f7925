"""One door for files in and out: the whole catalogue as YAML or JSON, its models as CSV; what was brought in leaves its trail."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from webapp.domain.shared.errors import Malformed
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.transfer import model_csv, registry_import, registry_yaml
from webapp.services.transfer.import_rows import ADDED, CHANGED, ImportReport
from webapp.services.transfer.registry_import import ImportContext
from webapp.services.transfer.registry_yaml import ParsedRegistryFile

YAML, JSON, CSV = FORMATS = ("yaml", "json", "csv")
FORMAT_BY_SUFFIX: Mapping[str, str] = {".json": JSON, ".csv": CSV, ".yaml": YAML, ".yml": YAML}


class Upload(NamedTuple):
    """A file that somebody brings: its name for the trail, and in which form it is; `read` once it was read."""

    name: str
    format: str
    text: str
    parsed: ParsedRegistryFile | None = None


def format_of(name: str) -> str | None:
    """The form that the ending of a file's name tells."""
    return next((form for ending, form in FORMAT_BY_SUFFIX.items() if name.lower().endswith(ending)), None)


def decode_text(data: bytes) -> str:
    """Raises `Malformed` for what is no text of ours."""
    if len(data) > registry_yaml.MAX_BYTES:
        raise Malformed(f"The file is larger than {registry_yaml.MAX_BYTES // 1_000_000} MB.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Malformed(f"Line {line}: this is not UTF-8 text. Save the file as UTF-8 and try again.") from None


def export(session: Session, form: str, at: datetime) -> str:
    """The file in this form, the same for the same catalogue; a CSV has the prices that hold at this moment."""
    if form == CSV:
        return model_csv.export_models(session, at)
    return registry_yaml.serialize(registry_import.export_document(session), as_json=form == JSON)


def parse_upload(upload: Upload) -> Upload:
    """Read, if that needs no database: before a transaction begins, because nobody else can write meanwhile. Raises `Malformed`."""
    return upload if upload.format == CSV else upload._replace(parsed=registry_yaml.parse_registry(upload.text))


def import_upload(session: Session, upload: Upload, by: ImportContext, at: datetime) -> ImportReport:
    """Brings the registry to what the file says, all or nothing. The caller's transaction decides whether it stays. Raises `Invalid`."""
    upload = parse_upload(upload) if upload.parsed is None else upload
    report = registry_import.apply(session, upload.parsed or model_csv.parse_models(session, upload.text, at), by)
    counts = report.counts()
    if counts[ADDED] or counts[CHANGED]:
        after = {"form": upload.format, **counts}
        audit_log.record(
            session, "catalog:file:import", actor=by.actor, target=Target("catalog", None, upload.name), change=AuditChange(None, after)
        )
    return report
