"""The negative control of E19: one field of one page is written as markup, with or without the content policy. Served to nobody else."""

import os
from collections.abc import Callable

from jinja2 import BaseLoader, Environment

from webapp.app import create_app
from webapp.config.loading import load

PAGE, FIELD = "admin/catalog/models/details.html", "{% block heading %}{{ model.display_name }}{% endblock %}"


class Careless(BaseLoader):
    """The product's templates, but for one."""

    def __init__(self, real: BaseLoader) -> None:
        self._real = real

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, name, fresh = self._real.get_source(environment, template)
        if template == PAGE:
            assert FIELD in source
            source = source.replace(FIELD, FIELD.replace("display_name", "display_name|safe"))
        return source, name, fresh


app = create_app(load(os.environ))
app.jinja_env.loader = Careless(app.jinja_env.loader)


def without_policy(response):
    if os.environ.get("MODELDESK_TEST_POLICY") == "off":
        del response.headers["Content-Security-Policy"]
    return response


app.after_request_funcs[None].insert(0, without_policy)  # Functions run from the last to the first.
