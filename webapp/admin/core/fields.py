"""Fields of forms, numbers of addresses and cells of exports: what people type as values, and values as text that no spreadsheet runs."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import HiddenField, SelectMultipleField, StringField, widgets
from wtforms.validators import InputRequired

from webapp.admin.core.flask_admin_adapter import rules
from webapp.domain.shared.errors import Stale

# Digits, in groups of three if separated at all: `1,5` must not become fifteen.
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}|[0-9]{1,3}(?:[, ][0-9]{3}){1,4}", re.ASCII)
MAX_PAGE = 1_000_000  # Databases count no further than 2^63.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")


class HiddenFieldRule(rules.BaseRule):
    """Says that a hidden field belongs to the form; hidden fields are drawn by themselves."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def visible_fields(self) -> list[str]:
        return [self.name]

    def __call__(self, form: Any, form_opts: Any = None, field_args: Any = None) -> str:
        return ""


class StaffForm(FlaskForm):
    """A form as text fields: what was typed stays, and the services say what is wrong with it."""

    edit_conflict: Any = None  # What to say when somebody else was quicker (merging.py).

    def __init__(self, formdata: Any = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(formdata, data=data)  # type: ignore[no-untyped-call] # Flask-WTF is untyped


class VersionedForm(StaffForm):
    """A form of a row that somebody else may change meanwhile: it carries what it was filled from (merging.py)."""

    row_version = HiddenField()
    row_base = HiddenField()


VERSION_RULES = (HiddenFieldRule("row_version"), HiddenFieldRule("row_base"))


def pills_field(label: str, choices: Iterable[tuple[str, str]], description: str = "") -> SelectMultipleField:
    """Several choices as boxes in a row."""
    return SelectMultipleField(
        label,
        choices=list(choices),
        description=description,
        validate_choice=False,
        widget=widgets.ListWidget(prefix_label=False),
        option_widget=widgets.CheckboxInput(),
    )


def required_field(label: str, description: str = "", **more: Any) -> StringField:
    return StringField(label, [InputRequired("is required")], description=description, render_kw=more or None)


def date_field(label: str, description: str = "") -> StringField:
    return StringField(label, description=description, render_kw={"type": "date"})


def lookup_attributes(url: str, ref: str | None, label: str | None) -> dict[str, str]:
    """What turns a text field into a choice that can be searched; without scripts it stays a text field."""
    chosen = json.dumps([ref, label or ref]) if ref else "[]"
    return {"data-role": "select2-ajax", "data-url": url, "data-json": chosen, "data-placeholder": "Search a model…", "spellcheck": "false"}


def version_of(typed: str | None) -> int | None:
    """The version of the row that the form was filled from. Raises `Stale` for what cannot be one."""
    if not typed:
        return None
    if typed.isascii() and typed.isdigit() and len(typed) < 10:
        return int(typed)
    raise Stale("This form is damaged. Load the page again and repeat your change.")


def parse_whole_number(text: str | None) -> object:
    """A typed number for the services' checks: the number, None for nothing, or the text itself, which they refuse in words."""
    clean = (text or "").strip()
    if WHOLE_NUMBER.fullmatch(clean):
        return int(clean.replace(",", "").replace(" ", ""))
    return clean or None


def requested_page(given: MultiDict[str, str]) -> int:
    """Which page of a list an address asks for, counted from 0. What makes no sense is the first one; nothing of it ends in an error."""
    return min(max(given.get("page", 0, type=int), 0), MAX_PAGE)


def split_list(text: str | None) -> list[str]:
    """Entries separated by commas or line ends."""
    return [entry.strip() for entry in (text or "").replace(",", "\n").splitlines() if entry.strip()]


def safe_cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA_PREFIXES):
        return f"'{value}"
    return "" if value is None else value
