"""Prompt templates: the list, one with all its versions and a preview, and the forms by which a version is added."""

from collections.abc import Mapping
from typing import Any, ClassVar

from flask import Response, flash, redirect, request
from flask_admin import expose
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView
from webapp.admin.core.fields import parse_whole_number, version_of
from webapp.admin.runs.prompt_preview import build_preview
from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents.prompt_templates import CATEGORIES, PLACEHOLDER_VALUES, diff_lines
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, ModeldeskError, Stale
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.three_way_merge import merge
from webapp.extensions import db
from webapp.models import PromptTemplate
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.runs import prompt_templates, response_cache
from webapp.web.auth import actor, has_permission

FIELDS = ("name", "title", "category", "system", "user", "preferred_model", "temperature", "max_tokens", "cache_minutes", "note")
EDITABLE_FIELDS = tuple(name for name in FIELDS if name not in ("name", "note"))
TEXT_FIELDS = ("system", "user")
FIELD_LABELS = {  # As the form calls them; of the others the name says it.
    "system": "Instructions",
    "user": "Question",
    "max_tokens": "Longest answer",
    "cache_minutes": "Keep answers for",
    "is_active": "Active",
}
BLANK_FORM: Mapping[str, str] = dict.fromkeys(FIELDS, "") | {"category": "incident", "user": "{{incident}}", "cache_minutes": "0"}
CHANGE_MESSAGES = {"delete": "The template was deleted.", "activate": "The template is active.", "deactivate": "The template is inactive."}


class Prompts(GuardedView):
    """What models are told. Whoever may read may look; editors add versions."""

    needs = Permission.REGISTRY_READ
    purpose: ClassVar[str] = "What models are told about an incident. Every change is a new version, and each run says which one it used."

    @expose("/")
    def index(self) -> str:
        word, category = request.args.get("search", "").strip()[:200], request.args.get("category", "")[:60]
        rows = [row for row in prompt_templates.list_current(db.session()) if _matches(row, word, category)]
        shown = [{"row": row, "use": prompt_templates.usage(db.session(), row.name)} for row in rows]
        kept = response_cache.count(db.session())
        categories = sorted({row.category for row in prompt_templates.list_current(db.session())})
        return self.render(
            "admin/runs/prompt_templates/list.html",
            rows=shown,
            search=word,
            category=category,
            categories=categories,
            kept=kept,
            may_edit=may_edit(),
        )

    @expose("/<slug>/")
    def details(self, slug: str) -> str:
        return self._details(prompt_templates.find(db.session(), slug, request.args.get("version", type=int)), request.args)

    @expose("/<slug>/preview", methods=("POST",))
    def preview(self, slug: str) -> str:
        """What a sample, a kept incident or pasted text makes of it. Nothing is asked, nothing is stored."""
        row = prompt_templates.find(db.session(), slug, request.form.get("version", type=int))
        if "HX-Request" in request.headers:
            return self.render("admin/runs/prompt_templates/_preview.html", row=row, **build_preview(row, request.form))
        return self._details(row, request.form)

    def _details(self, row: PromptTemplate, given: Mapping[str, str]) -> str:
        session = db.session()
        others = prompt_templates.list_versions(session, row.name)
        older = request.args.get("against", type=int) or next((one.version for one in others if one.version < row.version), None)
        return self.render(
            "admin/runs/prompt_templates/details.html",
            row=row,
            versions=others,
            use=prompt_templates.usage(session, row.name),
            may_edit=may_edit(),
            against=older,
            compared=_list_differences(prompt_templates.find(session, row.name, older), row) if older else [],
            temperature=None if row.temperature is None else format_decimal(row.temperature),
            **build_preview(row, given),
        )

    @expose("/new", methods=("GET", "POST"))
    def create(self) -> Any:
        return self._edit(None, BLANK_FORM, lambda session, entry: prompt_templates.create(session, entry, actor=actor()))

    @expose("/<slug>/edit", methods=("GET", "POST"))
    def edit(self, slug: str) -> Any:
        row = prompt_templates.find(db.session(), slug)

        def revise(session: Any, entry: dict[str, Any]) -> PromptTemplate:
            return prompt_templates.revise(session, slug, entry, actor=actor(), version=version_of(request.form.get("row_version")))

        return self._edit(row, _form_values(row), revise)

    def _edit(self, row: PromptTemplate | None, typed: Mapping[str, str], save: Any) -> Any:
        require_edit_permission()
        errors: dict[str, str] = {}
        overtaken = None
        if request.method == "POST":
            typed = {name: request.form.get(name, "") for name in FIELDS}
            try:
                with writing(refresh=False) as session:
                    name = save(session, _build_entry(typed, with_name=row is None)).name
            except ModeldeskError as error:
                errors = _errors_by_field(error)
                if row is not None and isinstance(error, Stale):
                    row, typed, overtaken = _merge_stale_edit(row.name, typed)
            else:
                flash("Saved as a new version." if row else "The template was added.", "success")
                return redirect(self.get_url(".details", slug=name))
        models = [model.ref for model in container.registry().snapshot.by_type.get("text", ()) if model.supported]
        page = self.render(
            "admin/runs/prompt_templates/edit.html",
            row=row,
            typed=typed,
            errors=errors,
            categories=CATEGORIES,
            models=models,
            placeholders=list(PLACEHOLDER_VALUES),
            overtaken=overtaken,
        )
        return Response(page, 422 if errors else 200)

    @expose("/<slug>/<any(activate,deactivate,delete):what>", methods=("POST",))
    def change(self, slug: str, what: str) -> Redirect:
        require_edit_permission()
        try:
            with writing(refresh=False) as session:
                if what == "delete":
                    prompt_templates.delete(session, slug, actor=actor())
                else:
                    prompt_templates.set_active(session, slug, what == "activate", actor=actor())
        except ModeldeskError as error:
            flash(error.detail, "error")
            return redirect(self.get_url(".details", slug=slug))
        flash(CHANGE_MESSAGES[what], "success")
        return redirect(self.get_url(".index") if what == "delete" else self.get_url(".details", slug=slug))

    @expose("/<slug>/restore", methods=("POST",))
    def restore(self, slug: str) -> Redirect:
        require_edit_permission()
        version = parse_whole_number(request.form.get("version"))
        with writing(refresh=False) as session:
            row = prompt_templates.restore(session, slug, version if isinstance(version, int) else 0, actor=actor())
            made = row.version
        flash(f"Version {version} is current again, as version {made}.", "success")
        return redirect(self.get_url(".details", slug=slug))

    @expose("/cache/clear", methods=("POST",))
    def clear_cache(self) -> Redirect:
        require_edit_permission()
        with writing(refresh=False) as session:
            removed = response_cache.clear(session, actor=actor())
        flash(f"{removed:,} remembered answer{'s were' if removed != 1 else ' was'} removed.", "success")
        return redirect(self.get_url(".index"))


def may_edit() -> bool:
    return has_permission(Permission.REGISTRY_WRITE)


def require_edit_permission() -> None:
    if not may_edit():
        raise Forbidden("Your role does not allow this. Ask an admin.")


def _matches(row: PromptTemplate, word: str, category: str) -> bool:
    text = f"{row.name} {row.title} {row.category} {row.preferred_model or ''}".casefold()
    return all(part in text for part in word.casefold().split()) and category in ("", row.category)


def _form_values(row: PromptTemplate) -> dict[str, str]:
    values = {name: getattr(row, name) for name in FIELDS if name != "note"}
    values["temperature"] = None if row.temperature is None else format_decimal(row.temperature)
    return {name: "" if value is None else str(value) for name, value in values.items()} | {"note": ""}


def _build_entry(typed: Mapping[str, str], *, with_name: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {name: typed[name].strip() for name in FIELDS if with_name or name != "name"}
    return entry | {"max_tokens": parse_whole_number(typed["max_tokens"]), "cache_minutes": parse_whole_number(typed["cache_minutes"]) or 0}


def _errors_by_field(error: ModeldeskError) -> dict[str, str]:
    """Each message at its field; what belongs to none stands at the top."""
    if isinstance(error, Invalid | Conflict) and error.errors:
        return {found.field if found.field in FIELDS else "": found.message for found in error.errors}
    return {"": error.detail}


def _merge_stale_edit(name: str, typed: Mapping[str, str]) -> tuple[PromptTemplate, dict[str, str], dict[str, Any]]:
    """The newest version, the form with what its sender had left alone taken from that, and what to say.

    A form that names a version which never was is taken to be about the newest: nothing of it is changed.
    """
    newest, opened = prompt_templates.find(db.session(), name), parse_whole_number(request.form.get("row_version"))
    older = next((one for one in prompt_templates.list_versions(db.session(), name) if one.version == opened), newest)
    theirs = _form_values(newest)
    taken = [field for field in merge(_form_values(older), theirs, typed).accepted if field in EDITABLE_FIELDS]
    said = {
        "by": newest.created_by,
        "at": newest.created_at,
        "since": older.version,
        "compared": _list_differences(older, newest),
        "taken": [_field_label(field) for field in taken],
    }
    return newest, dict(typed) | {field: theirs[field] for field in taken}, said


def _field_label(field: str) -> str:
    return FIELD_LABELS.get(field, field.replace("_", " ").capitalize())


def _list_differences(older: PromptTemplate, newer: PromptTemplate) -> list[dict[str, Any]]:
    """The texts that differ, line by line, and the settings that do."""
    found: list[dict[str, Any]] = []
    for field in TEXT_FIELDS:
        if getattr(older, field) != getattr(newer, field):
            found.append({"label": _field_label(field), "lines": list(diff_lines(getattr(older, field), getattr(newer, field)))})
    for field in ("title", "category", "preferred_model", "temperature", "max_tokens", "cache_minutes", "is_active"):
        before, after = getattr(older, field), getattr(newer, field)
        if before != after:
            found.append({"label": _field_label(field), "before": before, "after": after})
    return found
