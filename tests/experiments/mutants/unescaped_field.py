"""Negative control of E19: one field of one page is not escaped, with or without the content security policy. Only that test serves it."""

import os
from collections.abc import Callable

from jinja2 import BaseLoader, Environment

from webapp.app import create_app
from webapp.config.loading import load

PAGE, FIELD = "admin/catalog/models/details.html", "{% block heading %}{{ model.display_name }}{% endblock %}"


class Careless(BaseLoader):
    """A loader of the product's templates that changes one of them."""

    def __init__(self, loader: BaseLoader) -> None:
        self._real = loader

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, name, is_current = self._real.get_source(environment, template)
        if template == PAGE:
            assert FIELD in source
            source = source.replace(FIELD, FIELD.replace("display_name", "display_name|safe"))
        return source, name, is_current


app = create_app(load(os.environ))
app.jinja_env.loader = Careless(app.jinja_env.loader)


def without_policy(response):
    if os.environ.get("MODELDESK_TEST_POLICY") == "off":
        del response.headers["Content-Security-Policy"]
    return response


app.after_request_funcs[None].insert(0, without_policy)  # Flask runs these functions from last to first.
