"""Every filter, sort order and search of every list, on SQLite and on PostgreSQL."""

from environment import PASSWORD
from factories import Visitor
from flask_admin.base import BaseView

from webapp.admin.core.lists import RowsView


def addresses(view: BaseView):
    yield f"{view.url}/?search=gpt+mini"
    for index, (column, _) in enumerate(view._list_columns):
        if view.is_sortable(column):
            yield from (f"{view.url}/?sort={index}", f"{view.url}/?sort={index}&desc=1")
    for argument, (_, condition) in view._filter_args.items():
        options = condition.choices()
        day_or_word = "2026-01-01" if condition.operation() == "since" else "gpt"
        yield from (f"{view.url}/?flt0_{argument}={value}" for value, _ in (options or [(day_or_word, "")]))


def test_every_list_answers_every_filter_and_order(either_app):
    ann = Visitor(either_app, "ann@example.com", PASSWORD)
    views = [view for view in either_app.extensions["admin"][0]._views if isinstance(view, RowsView)]
    failed = [address for view in views for address in addresses(view) if ann.get(address).status_code != 200]
    assert (len(views), failed) == (7, [])
