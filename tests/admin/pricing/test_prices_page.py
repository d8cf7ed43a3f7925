"""Adding prices: amounts are exact, units are explicit, and existing prices never change."""

import html
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from environment import unguard
from sqlalchemy import func, select, text

from webapp.domain.pricing.meters import METER_GROUPS, METER_TABLE, METERS, TOKEN_METERS
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Price
from webapp.services.pricing.prices import to_domain

PRICED = {"state": "priced", "unit": "1", "rate_input": "0.000003", "rate_output": "0.000015", "when": "now"}


def model():
    db.session.rollback()
    return db.session.execute(select(Model).where(Model.model_id == "gpt-4o")).scalar_one()


def count(table=Price):
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table)).scalar_one()


def add(visitor, **more):
    return visitor.post("/admin/price/new/", {"model": str(model().id)} | PRICED | more)


def newest():
    db.session.rollback()
    return db.session.execute(select(Price).order_by(Price.id.desc()).limit(1)).scalar_one()


def key_in(response):
    return re.search(r'name="confirm_price" value="(\w+)"', response.text)[1]


@pytest.mark.parametrize(("unit", "amount"), [("1", "0.000003"), ("1000", "0.003"), ("1000000", "3")])
def test_a_price_per_token_is_stored_per_million_by_moving_the_point(ann, unit, amount):
    response = add(ann, unit=unit, rate_input=amount, rate_output="")
    assert response.headers["Location"] == f"/admin/model/details/?id={model().id}"
    (rate,) = newest().rates
    assert (rate.meter, rate.amount, rate.per) == ("input", Decimal(3), 1_000_000)


def test_the_page_after_says_the_price_in_words(ann):
    add(ann)
    page = ann.get(f"/admin/model/details/?id={model().id}").text
    assert "the price of GPT-4o is input $3 per 1M tokens, output $15 per 1M tokens." in page


def test_what_is_typed_is_read_back_with_its_unit(ann):
    echo = ann.post("/admin/price/echo", {"model": str(model().id)} | PRICED).text
    assert "= $3 per 1M tokens" in echo
    assert "A call of 1,000 input and 500 output tokens costs $0.0105." in echo


def test_a_unit_that_is_mixed_up_is_noticed(ann):
    echo = ann.post("/admin/price/echo", {"model": str(model().id)} | PRICED | {"rate_input": "2.5", "rate_output": "10"}).text
    assert "Input is 1,000,000 times more than the price before. Is the unit right?" in echo
    assert "the nearest model of this provider" in echo
    assert "the built-in catalogue says" in echo


def test_a_price_that_is_far_off_is_saved_only_after_a_yes_to_this_very_price(ann):
    before = count()
    rates = {"rate_input": "2500", "rate_output": "10000", "unit": "1000000"}
    response = add(ann, **rates)
    assert (response.status_code, count()) == (422, before)
    assert 'value="2500"' in response.text
    key = key_in(response)
    assert add(ann, **rates | {"rate_input": "2600"}, confirm_price=key).status_code == 422
    assert (add(ann, **rates, confirm_price=key).status_code, count()) == (302, before + 1)
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert any("1,000 times more than the price before" in text for text in event.after["confirmed"])


def test_the_correction_of_a_wrong_unit_is_not_asked_about_for_being_far_from_it(ann):
    rates = {"rate_input": "2500", "rate_output": "10000", "unit": "1000000"}
    add(ann, **rates, confirm_price=key_in(add(ann, **rates)))
    starts = format_timestamp(newest().effective_from)
    assert add(ann, corrects=str(newest().id), starts=starts).status_code == 302


def test_further_rates_come_from_rows(ann):
    rows = {
        "more_meter": ["input", ""],
        "more_amount": ["6", ""],
        "more_per": ["1000000", "1000000"],
        "more_above": ["200,000", ""],
        "more_tier": ["standard", "standard"],
    }
    assert add(ann, **rows).status_code == 302
    assert sorted((rate.meter, rate.above) for rate in newest().rates) == [("input", -1), ("input", 200_000), ("output", -1)]


@pytest.mark.parametrize("wrong", ["-1", "1e5", "NaN", "1,5", "٣", "0.0000000000000000001", "9" * 30])
def test_an_amount_that_is_none_is_said_at_its_field_and_kept(ann, wrong):
    before = count()
    response = add(ann, rate_input=wrong)
    assert response.status_code == 422
    assert f'value="{wrong}"' in response.text
    assert 'id="rate_input-error"' in response.text
    assert count() == before


@pytest.mark.parametrize("state", ["free", "unknown"])
def test_free_and_unknown_are_prices_without_rates(ann, state):
    confirmation = {"confirm_price": key_in(add(ann, state=state))} if state == "free" else {}
    assert add(ann, state=state, **confirmation).status_code == 302
    assert (newest().state, list(newest().rates)) == (state, [])


def test_a_price_may_start_later_and_is_audited_once(ann):
    before = count(AuditEvent)
    add(ann, when="at", at="2030-01-01T00:00")
    assert newest().effective_from.year == 2030
    assert count(AuditEvent) == before + 1
    assert "Scheduled" in ann.get("/admin/price/?flt0_in_time_equals=scheduled").text


def test_the_same_moment_twice_is_refused(ann):
    add(ann, when="at", at="2030-01-01T00:00")
    response = add(ann, when="at", at="2030-01-01T00:00")
    assert response.status_code == 422
    assert "already starts at this time" in response.text


def test_a_correction_takes_the_place_of_the_wrong_price(ann):
    add(ann, when="at", at="2030-01-01T00:00")
    wrong_id = newest().id
    page = ann.get(f"/admin/price/new/?model={model().id}&corrects={wrong_id}").text
    assert 'name="starts" value="2030-01-01T00:00:00Z"' in page
    assert add(ann, corrects=str(wrong_id), starts="2030-01-01T00:00:00Z", rate_input="0.000004").status_code == 302
    assert newest().corrects_id == wrong_id


PAST = {"when": "at", "at": "2026-10-20T00:00"}


def test_what_a_start_in_the_past_changes_is_said_while_it_is_typed(ann):
    echo = ann.post("/admin/price/echo", {"model": str(model().id)} | PRICED | PAST).text
    assert "This changes what calls between 20 Oct 2026 and now cost." in echo
    assert "This changes" not in ann.post("/admin/price/echo", {"model": str(model().id)} | PRICED).text


def test_the_past_changes_only_after_somebody_confirmed_that_span(ann):
    before = count()
    rejected = add(ann, **PAST)
    assert (rejected.status_code, count()) == (422, before)
    assert 'id="confirm_past-error"' in rejected.text
    assert 'value="2026-10-20T00:00:00Z/"' in rejected.text
    assert 'value="0.000003"' in rejected.text
    assert add(ann, when="at", at="2026-10-21T00:00", confirm_past="2026-10-20T00:00:00Z/").status_code == 422
    assert add(ann, **PAST, confirm_past="2026-10-20T00:00:00Z/").status_code == 302
    assert "From 20 Oct 2026 on, the price of GPT-4o is" in ann.get("/admin/").text


def test_a_span_of_the_past_ends_where_the_next_price_starts(ann):
    add(ann, **PAST, confirm_past="2026-10-20T00:00:00Z/")
    ann.get("/admin/")
    span = {"when": "at", "at": "2026-10-16T06:30"}
    assert "between 16 Oct 2026, 06:30 UTC and 20 Oct 2026 cost" in add(ann, **span).text
    add(ann, **span, confirm_past="2026-10-16T06:30:00Z/2026-10-20T00:00:00Z")
    assert "From 16 Oct 2026, 06:30 UTC to 20 Oct 2026, the price" in ann.get("/admin/").text


@pytest.mark.parametrize(
    ("start", "said"), [({}, "From now on, the"), ({"when": "at", "at": "2030-01-01T00:00"}, "From 1 Jan 2030 on, the")]
)
def test_the_page_after_says_from_when_on_it_holds(ann, start, said):
    add(ann, **start)
    assert said in ann.get("/admin/").text


def test_a_new_price_begins_with_the_rates_in_force(ann):
    page = ann.get(f"/admin/price/new/?model={model().id}").text
    assert 'name="rate_input" value="2.5"' in page
    assert 'name="rate_output" value="10"' in page
    assert "of the current price end" not in page


def test_rates_that_a_new_price_would_end_are_named(ann):
    echo = ann.post("/admin/price/echo", {"model": str(model().id)} | PRICED | {"rate_output": ""}).text
    assert "of the current price end: " in echo
    assert "output" in echo.partition("current price end: ")[2]


def test_no_address_changes_or_removes_a_price(ann):
    for path in ("/admin/price/edit/?id=1", "/admin/price/delete/"):
        assert ann.post(path, {"id": "1"}).status_code == 403


def details(visitor):
    return visitor.get(f"/admin/model/details/?id={model().id}").text


def found(visitor, what):
    return visitor.get(f"/admin/model/?flt0_price_is_equals={what}").text.count('<tr id="row-')


def test_a_price_is_verified_by_name_and_date_and_the_row_stays_as_it_was(bob, eve):
    add(bob)
    price = newest()
    assert "Mark as verified" in details(bob)
    assert "Mark as verified" not in details(eve)
    assert bob.post(f"/admin/price/{price.id}/verify").status_code == 302
    assert "verified by bob@example.com" in details(bob)
    assert newest().verified_at is None
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (event.action, event.target_name) == ("registry:price:verify", "openai/gpt-4o")


def test_a_corrected_price_is_not_verified(bob):
    add(bob)
    wrong_price = newest()
    add(bob, corrects=str(wrong_price.id), starts=format_timestamp(wrong_price.effective_from))
    bob.post(f"/admin/price/{wrong_price.id}/verify")
    assert "was corrected: verify the correction" in bob.get("/admin/price/").text


def test_lists_find_prices_that_are_pinned_or_about_to_change(bob):
    scheduled = found(bob, "scheduled")
    assert found(bob, "pinned") == 0
    add(bob)
    assert found(bob, "pinned") == 1
    add(bob, when="at", at="2099-01-01T00:00")
    assert found(bob, "scheduled") == scheduled + 1


def test_a_price_that_nobody_looked_at_for_long_is_found_until_somebody_does(bob):
    add(bob)
    assert found(bob, "stale") == 0
    with db.engine.begin() as connection:  # Simulates an old price. The triggers must be off, because they reject changes of prices.
        unguard(connection, "prices")
        connection.execute(text("UPDATE prices SET created_at = '2020-01-01 00:00:00.000000' WHERE id = :id"), {"id": newest().id})
    assert found(bob, "stale") == 1
    bob.post(f"/admin/price/{newest().id}/verify")
    assert found(bob, "stale") == 0


def test_the_page_draws_the_price_over_time_without_anything_inline(bob):
    add(bob)
    page = details(bob)
    assert '<polyline class="chart-line chart-line-1"' in page
    assert "the table below is exact" in page


def test_the_price_opens_at_the_side_of_the_list_with_who_added_it_and_without_scripts_on_the_page_of_the_model(bob, eve):
    add(bob, source_url="https://prices.example/today")
    url = f"/admin/model/{model().id}/price"
    assert f'href="{url}" hx-get="{url}"' in eve.get("/admin/model/?search=gpt-4o").text
    drawer = eve.get(url, headers={"HX-Request": "true"}).text
    for expected in ("Price now", "Price history", "added by bob@example.com", "https://prices.example/today", 'name="at"', "<polyline"):
        assert expected in drawer
    assert "<!doctype html>" not in drawer
    assert eve.get(url).headers["Location"] == f"/admin/model/details/?id={model().id}#price-title"
    assert eve.get("/admin/model/999999/price").status_code == 404


LATER = {"when": "at", "at": "2030-01-01T00:00"}


def listed(visitor, status):
    return visitor.get(f"/admin/price/?flt0_in_time_equals={status}").text.count('<tr id="row-')


def test_a_scheduled_price_is_canceled_from_both_pages_and_marked_there(bob, eve):
    scheduled_before = listed(bob, "scheduled"), found(bob, "scheduled")
    add(bob, **LATER)
    scheduled = newest()
    address = f"/admin/price/{scheduled.id}/cancel"
    question = 'data-confirm="Cancel the price of GPT-4o that starts on 1 Jan 2030?"'
    for page in (details, lambda visitor: visitor.get("/admin/price/").text):
        assert (address in page(bob), question in page(bob), address in page(eve)) == (True, True, False)
    assert listed(bob, "canceled") == 0
    assert bob.post(address, {"url": "/admin/price/"}).headers["Location"] == "/admin/price/"
    assert "Canceled: the price of GPT-4o does not change on 1 Jan 2030." in bob.get("/admin/price/").text
    assert (newest().corrects_id, newest().cancels) == (scheduled.id, True)
    for page in (details(bob), bob.get("/admin/price/?search=gpt-4o").text):
        assert all(text in page for text in (">Canceled</span>", ">Cancellation</span>", "The price before continues"))
        assert address not in page
    assert listed(bob, "canceled") == 2
    assert (listed(bob, "scheduled"), found(bob, "scheduled")) == scheduled_before


def test_a_price_that_started_is_not_canceled(bob, eve):
    add(bob)
    before = count()
    assert eve.post(f"/admin/price/{newest().id}/cancel").status_code == 403
    bob.post(f"/admin/price/{newest().id}/cancel")
    assert "That price has started, so it cannot be canceled." in bob.get("/admin/price/").text
    assert bob.post("/admin/price/nothing/cancel").status_code == 302
    assert count() == before


def test_a_canceled_price_that_would_have_started_by_now_is_not_taken_for_the_current_one(bob):
    current, at_list = listed(bob, "current"), found(bob, "pinned")
    add(bob, **LATER)
    bob.post(f"/admin/price/{newest().id}/cancel")
    with db.engine.begin() as connection:  # Simulates that time passed. The triggers must be off, because they reject changes of prices.
        unguard(connection, "prices")
        connection.execute(text("UPDATE prices SET effective_from = '2026-11-30 00:00:00' WHERE effective_from > '2029-01-01'"))
    assert (listed(bob, "current"), listed(bob, "canceled"), found(bob, "pinned")) == (current, 2, at_list)


DATE = "2030-01-01T06:30"


def test_a_date_without_the_choice_of_a_start_is_the_start(ann):
    form = {name: text for name, text in PRICED.items() if name != "when"}
    assert ann.post("/admin/price/new/", {"model": str(model().id), **form, "at": DATE}).status_code == 302
    assert format_timestamp(newest().effective_from) == "2030-01-01T06:30:00Z"


def test_a_date_next_to_the_choice_now_is_refused_and_nothing_is_stored(ann):
    before = count()
    response = add(ann, when="now", at=DATE)
    assert (response.status_code, count()) == (422, before)
    assert "has a date, but “immediately” is selected" in response.text
    assert f'value="{DATE}"' in response.text
    assert add(ann, when="at", at=DATE).status_code == 302


@pytest.mark.parametrize(
    ("start", "echoed", "label"),
    [
        ({}, "It starts now.", "Add this price, starting now"),
        ({"when": "at", "at": DATE}, "It starts 1 Jan 2030, 06:30 UTC.", "Add this price, starting 1 Jan 2030, 06:30 UTC"),
        ({"when": "at", "at": "2030-01-01T00:00"}, "It starts 1 Jan 2030, 00:00 UTC.", "Add this price, starting 1 Jan 2030, 00:00 UTC"),
        ({"when": "now", "at": DATE}, "Start: has a date, but “immediately” is selected", "Add this price"),
        ({"when": "at", "at": ""}, "", "Add this price"),
    ],
)
def test_the_preview_and_the_button_name_the_start(ann, start, echoed, label):
    form = {"model": str(model().id)} | PRICED | start
    echo = ann.post("/admin/price/echo", form).text
    assert echoed in echo
    assert f'<span id="submit-label" hx-swap-oob="innerHTML">{label}</span>' in echo
    assert f'<span id="submit-label">{label}</span>' in ann.post("/admin/price/new/", form | {"_more": "1"}).text


def test_a_correction_says_where_it_starts(ann):
    add(ann, when="at", at=DATE)
    page = ann.get(f"/admin/price/new/?model={model().id}&corrects={newest().id}").text
    assert '<span id="submit-label">Save the correction</span>' in page
    assert "It starts 1 Jan 2030, 06:30 UTC." in page


def rows(*filled):
    names = ("meter", "amount", "per", "above", "tier", "when", "days", "from", "to", "tz")
    blank = dict.fromkeys(names, "") | {"tier": "standard"}
    return {f"more_{name}": [(blank | row)[name] for row in filled] for name in names}


HIGH = {"meter": "image", "amount": "0.25", "when": "quality = high\nsize = 1536x1024"}
NIGHT = {"meter": "output", "amount": "7", "per": "1000000", "from": "16:30", "to": "00:30", "days": "Sat, Sun", "tz": "Asia/Shanghai"}


def preview(visitor, **more):
    return visitor.post("/admin/price/echo", {"model": str(model().id)} | PRICED | more).text


def test_the_preview_names_the_field_of_each_error_and_keeps_its_spelling(ann):
    echo = preview(
        ann, surcharge_percent="abc", more_meter="input", more_amount="2", more_from="16:30", more_to="00:30", more_tz="Asia/Shangai"
    )
    assert "Rate with conditions 1: Time zone must be an IANA time zone such as Asia/Shanghai" in echo
    assert "Surcharge: must be a plain decimal" in echo


def test_the_preview_of_an_empty_price_says_what_is_needed(ann):
    assert "Rates: a price needs at least one rate; use the state free or unknown" in preview(ann, rate_input="", rate_output="")


def test_every_meter_has_a_field_and_is_read_back_with_its_unit(ann):
    page = ann.get(f"/admin/price/new/?model={model().id}").text
    amounts = {meter: str(number + 3) for number, meter in enumerate(METERS)}
    echo = preview(ann, unit="1000000", **{f"rate_{meter}": amount for meter, amount in amounts.items()})
    for meter, amount in amounts.items():
        assert f'name="rate_{meter}"' in page
        assert f'<option value="{meter}"' in page
        unit = "1M tokens" if meter in TOKEN_METERS else METER_TABLE[meter].unit
        assert f'<dt>{METER_TABLE[meter].label}</dt><dd class="money">= ${amount} per {unit}</dd>' in echo


OPEN_GROUP = r'<details class="form-details col-12" open>\s*<summary>([^<]+)</summary>'


def test_the_fields_of_media_and_tools_are_folded_until_they_have_content(ann):
    page = ann.get(f"/admin/price/new/?model={model().id}").text
    assert page.count('<details class="form-details') == len(METER_GROUPS) - 1
    assert re.findall(OPEN_GROUP, page) == ["Requests, tools and storage"]  # The price has a rate for web searches.
    assert re.findall(OPEN_GROUP, add(ann, rate_second="x").text) == ["Images, seconds, characters and pages"]


def test_a_rate_per_minute_is_read_back_as_one(ann):
    echo = preview(ann, rate_second="0.034", per_second="60")
    assert "= $0.034 per minute" in echo
    assert "0.00056" not in echo


def test_the_cost_of_a_call_names_the_hours_that_it_leaves_out(ann):
    assert "output tokens outside the hours of its rates costs" in preview(ann, **rows(NIGHT))
    assert "output tokens costs" in preview(ann, **rows(HIGH))


def test_conditions_zone_minimum_and_surcharge_are_read_back(ann):
    echo = preview(ann, **rows(HIGH, NIGHT), minimum="0.01", surcharge_percent="5.5", media_at_text_rate="on")
    for expected in (
        "= $0.25 per image, quality high, size 1536x1024",
        "= $7 per 1M tokens, from 16:30 to 00:30 Asia/Shanghai on Sat, Sun",
        "Media without a rate of their own are billed at the text rate.",
        "Each line of a cost is at least $0.01, unless it is 0.",
        "A surcharge of 5.5% is added to the total.",
    ):
        assert expected in echo


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ({"amount": "1,5"}, "Amount must be a plain decimal"),
        ({"when": "Quality = high"}, "Attribute is no attribute name"),
        ({"when": "quality"}, "Attribute must be a name and a value"),
        ({"tz": "Mars/Base"}, "From is missing"),
        ({"from": "25:00", "to": "26:00"}, "From must be a time of day"),
        ({"days": "Sun", "tz": "Mars/Base"}, "Time zone must be an IANA time zone"),
        ({"above": "many"}, "Above input tokens must be a whole number"),
        ({"tier": "auto"}, "Service tier is `auto`"),
        ({"meter": ""}, "Meter must be one of"),
        ({}, "gives image twice for the same conditions"),
    ],
)
def test_an_error_of_a_row_is_shown_at_that_row_and_nothing_is_lost(ann, faulty, words):
    before = count()
    response = add(ann, **rows({}, NIGHT, HIGH, HIGH | faulty), minimum="0.5")
    assert (response.status_code, count()) == (422, before)
    assert f'id="row_2-error">{words}' in html.unescape(response.text)
    assert re.findall(r'id="row_\d-error"', response.text) == ['id="row_2-error"']
    entered = (
        'value="Sat, Sun"',
        'value="Asia/Shanghai"',
        "quality = high\nsize = 1536x1024</textarea>",
        'id="minimum" name="minimum" value="0.5"',
    )
    assert all(part in response.text for part in entered)


def test_the_unit_guard_asks_about_a_rate_with_conditions(ann):
    echo = preview(ann, **rows({"meter": "input", "amount": "2500000", "tier": "scale", "when": "region = us"}))
    assert re.search(r"Input, scale rate, region us is [0-9,]+ times more than the price before\. Is the unit right\?", echo)


class FormFields(HTMLParser):
    """Collects what a browser would send for the form of a page."""

    def __init__(self, page):
        super().__init__()
        self.fields, self._select, self._textarea, self._options = [], None, None, []
        self.feed(page)

    def handle_starttag(self, name, attributes):
        values = dict(attributes)
        if name == "input" and values.get("name") and (values.get("type") not in ("radio", "checkbox") or "checked" in values):
            self.fields.append((values["name"], values.get("value") or ""))
        elif name == "select":
            self._select, self._options = values.get("name"), []
        elif name == "option" and self._select:
            self._options.append(values)
        elif name == "textarea":
            self._textarea = values["name"]
            self.fields.append((self._textarea, ""))

    def handle_endtag(self, name):
        if name == "select" and self._select and self._options:
            chosen = next((option for option in self._options if "selected" in option), self._options[0])
            self.fields.append((self._select, chosen.get("value") or ""))
            self._select = None
        elif name == "textarea":
            self._textarea = None

    def handle_data(self, data):
        if self._textarea:
            self.fields[-1] = (self._textarea, data)


def sent_by(page):
    sent = {}
    for name, value in FormFields(page.partition('class="admin-form')[2].partition("</form>")[0]).fields:
        sent.setdefault(name, []).append(value)
    return sent


def test_editing_and_correcting_a_price_loses_no_rate_and_no_field(ann):
    sizes = [HIGH | {"when": f"quality = high\nsize = {number}"} for number in range(36)]
    tiers = [{"meter": "input", "amount": "6", "above": "200,000", "tier": "flex"}, {"meter": "gb_day", "amount": "0.1", "per": "30"}]
    values = {"minimum": "0.01", "surcharge_percent": "5.5", "rate_second": "0.034", "per_second": "60", "rate_input_audio": "1"}
    assert add(ann, **LATER, **rows(*sizes, NIGHT, *tiers), **values, media_at_text_rate="on").status_code == 302
    price = newest()
    before = to_domain(price)
    assert len(before.rates) >= 42
    sent = sent_by(ann.get(f"/admin/price/new/?model={model().id}&corrects={price.id}").text)
    assert ann.post("/admin/price/new/", sent).status_code == 302
    after = to_domain(newest())
    assert after.corrects == before.id
    assert set(after.rates) == set(before.rates)
    assert (after.minimum, after.surcharge_percent, after.media_at_text_rate) == (Decimal("0.01"), Decimal("5.5"), True)


def test_the_page_of_the_model_shows_conditions_and_fields_of_the_whole_price(ann):
    add(ann, **rows(HIGH, NIGHT), minimum="0.01", rate_second="0.034", per_second="60")
    page = details(ann)
    for expected in (
        "$0.034 per minute",
        "quality high, size 1536x1024",
        "from 16:30 to 00:30 Asia/Shanghai on Sat, Sun",
        "Each line of a cost is at least $0.01, unless it is 0.",
    ):
        assert expected in page


def test_a_long_price_is_folded_in_the_history(ann):
    add(ann, **rows(*(HIGH | {"when": f"size = {number}"} for number in range(20))))
    assert "<summary>14 more rates</summary>" in details(ann)
