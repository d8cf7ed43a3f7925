"""The page that asks a person to confirm the consequences of a change. It sends the same request again, with the answers."""

from typing import Any

from flask import Response, request

from webapp.domain.shared.errors import ConfirmationRequired

OWN_FIELDS = ("csrf_token", "confirm")


def confirmation_page(view: Any, error: ConfirmationRequired) -> Response:
    """Return the page with one box for each confirmation. The other fields of the request become hidden fields."""
    page = view.render(
        "admin/core/confirm.html",
        confirmations=error.confirmations,
        address=request.full_path.removesuffix("?"),
        fields=[(name, text) for name, text in request.form.items(multi=True) if name not in OWN_FIELDS],
        return_url=view.return_url() if hasattr(view, "return_url") else view.get_url(".index"),
    )
    if "HX-Request" in request.headers:  # A switch of a list asked: the page takes the place of the list.
        return Response(page, headers={"HX-Retarget": "#main", "HX-Reselect": "#main", "HX-Reswap": "outerHTML show:top"})
    return Response(page, 409)


def confirmed_keys() -> list[str]:
    return request.form.getlist("confirm")
