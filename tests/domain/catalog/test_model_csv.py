"""Tests of CSV: cells are never formulas and read back unchanged, and models are rows."""

import csv
import io
from datetime import time
from decimal import Decimal

import pytest
from factories import a_price, a_rate, model_values
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.catalog import model_csv
from webapp.domain.catalog.input_schemas import MODEL_DEFAULTS
from webapp.domain.pricing.windows import Window
from webapp.domain.shared import csv_text
from webapp.domain.shared.errors import Invalid, Malformed

TEXTS = st.text(st.sampled_from("'=+-@\t\r\n,;\"aé＝ "), max_size=12)


@given(TEXTS)
def test_t28_a_cell_never_begins_a_formula_and_reads_back_as_it_was(text):
    escaped = csv_text.escape_formula(text)
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert csv_text.unescape_formula(escaped) == text


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
def test_a_file_reads_back_as_it_was_written(rows):
    written = [{"provider": f"{provider}x", "model_id": model_id} for provider, model_id in rows]
    columns, read_rows = csv_text.read_csv(csv_text.write_csv(("provider", "model_id"), written))
    assert columns == ["provider", "model_id"]
    assert [row.cells for row in read_rows] == written


def test_lines_are_those_of_the_editor_also_after_cells_with_line_breaks():
    _, rows = csv_text.read_csv('\ufeffa;b\n\n"one\ntwo";x\n1;2\n')
    assert [(row.line, row.cells["a"]) for row in rows] == [(3, "one\ntwo"), (5, "1")]


@pytest.mark.parametrize(
    ("text", "line"), {"": "Line 1", "a,b\n1\n": "Line 2", 'a,b\n"x"y,1\n': "Line 2", 'a,b\n1,2\n"open,3\n': "Line 3"}.items()
)
def test_what_is_no_table_is_said_with_its_line(text, line):
    with pytest.raises(Malformed, match=line):
        csv_text.read_csv(text)


ENTRY = {**MODEL_DEFAULTS, **model_values()}
PRICES = {
    "plain": a_price(a_rate("input", "0.15"), a_rate("output", "0.6")),
    "by thousand": a_price(a_rate("input", "0.00015", 1_000), a_rate("image", "40", 1_000)),
    "tiers": a_price(a_rate("input", "1"), a_rate("input", "2", above=200_000), a_rate("input", "0.5", service_tier="batch")),
    "hours": a_price(a_rate("input", "1"), a_rate("input", "0.5", window=Window((0, 6), time(16, 30), time(0, 30)))),
    "too fine for a column": a_price(a_rate("image", "0.000000000001", 1_000)),
    "conditions": a_price(a_rate("image", "0.25", 1, when=(("quality", "high"), ("size", "1536x1024"))), a_rate("image", "0.04", 1)),
    "zone": a_price(a_rate("input", "1"), a_rate("input", "0.5", window=Window((5, 6), time(), time(), "Asia/Shanghai"))),
    "minutes": a_price(a_rate("second", "0.017", 60), a_rate("session", "0.03", 1)),
    "seconds that a column can hold": a_price(a_rate("second", "0.06", 60)),
    "fields": a_price(a_rate("input", "1"), media_at_text_rate=True, minimum=Decimal("0.0001"), surcharge_percent=Decimal("5.5")),
    "no media at the rate of text": a_price(a_rate("input", "1"), media_at_text_rate=False, minimum=Decimal(0)),
    "free with fields": a_price(state="free", rates=(), media_at_text_rate=True),
    "free": a_price(state="free", rates=()),
    "unknown": a_price(state="unknown", rates=()),
}


@pytest.mark.parametrize("name", PRICES)
def test_every_price_reads_back_as_one_that_charges_the_same(name):
    price = PRICES[name]
    cells = model_csv.default_cells() | {
        column: text for column, text in model_csv._price_cells(price).items() if column in model_csv.PRICE_COLUMNS
    }
    assert model_csv.parse_price(cells).equals(price)


@pytest.mark.parametrize(("field", "value"), [("media_at_text_rate", True), ("minimum", Decimal("0.1")), ("surcharge_percent", Decimal(5))])
def test_each_field_of_a_price_makes_it_another_price(field, value):
    cells = model_csv.default_cells() | model_csv._price_cells(a_price(a_rate("input", "1")))
    changed = a_price(a_rate("input", "1"), **{field: value})
    assert not model_csv.parse_price(cells).equals(changed)
    assert getattr(model_csv.parse_price(model_csv.default_cells() | model_csv._price_cells(changed)), field) == value


WRONG = {
    "a minimum with an exponent": ({"input_per_1m": "1", "currency": "USD", "minimum": "1e3"}, "minimum"),
    "a surcharge with a sign": ({"input_per_1m": "1", "currency": "USD", "surcharge_percent": "5 %"}, "surcharge_percent"),
    "neither true nor false": ({"input_per_1m": "1", "currency": "USD", "media_at_text_rate": "maybe"}, "media_at_text_rate"),
    "a float with an exponent": ({"input_per_1m": "1e3", "currency": "USD"}, "input_per_1m"),
    "a decimal comma": ({"input_per_1m": "1,5", "currency": "USD"}, "input_per_1m"),
    "no currency": ({"input_per_1m": "1"}, "currency"),
    "free with rates": ({"price_state": "free", "input_per_1m": "1", "currency": "USD"}, "price_state"),
    "priced without any": ({"price_state": "priced", "currency": "USD"}, "price_state"),
    "another state": ({"price_state": "cheap", "currency": "USD"}, "price_state"),
    "a rate twice": ({"input_per_1m": "1", "currency": "USD", "more_rates": '[{"meter":"input","amount":"2","per":1}]'}, "more_rates"),
    "no JSON": ({"more_rates": "[1.5]", "currency": "USD"}, "more_rates"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_price_that_makes_no_sense_is_refused_at_its_column(name):
    cells, column = WRONG[name]
    with pytest.raises(Invalid) as refused:
        model_csv.parse_price(model_csv.default_cells() | cells)
    assert {error.field.partition("[")[0] for error in refused.value.errors} == {column}


def test_t28_spreadsheets_find_no_formula_in_an_export():
    text = csv_text.write_csv(("a",), [{"a": "=1+1"}, {"a": "-5"}])
    assert [row[0] for row in csv.reader(io.StringIO(text))] == ["a", "'=1+1", "'-5"]
