"""Write the fixture database of commit fab12c9: rows of its tables, and costs that its code calculated. README.md has the command.

Only the code of that commit can run this file. The output is the same for every run.
"""

import json
import lzma
import random
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import select
from webapp.domain.choice import LOCAL, Choice
from webapp.domain.drift import Limits
from webapp.domain.entries import price_entry
from webapp.domain.errors import Conflict, ModeldeskError
from webapp.services.asking import Outcome
from webapp.services.catalog_files import Importing
from webapp.services.exchange import Upload
from webapp.services.last_good import LastGoodFile
from webapp.services.overrides import Rule
from webapp.services.planning import Plan
from webapp.services.proposals import Comparison
from webapp.web.transaction import writing
from world import prepared, settings_for

import webapp.models.base
from webapp import catalogues
from webapp.app import create_app
from webapp.domain.incidents import incident_from
from webapp.domain.pricing import SERVICE_TIERS, cost_of
from webapp.domain.usage import TOKEN_METERS, Usage
from webapp.extensions import db
from webapp.extensions.engine import create_file
from webapp.models import Base, Model
from webapp.models import Price as PriceRow
from webapp.security.urlguard import OutboundPolicy
from webapp.services import api_tokens, audit, catalog_files, catalog_text, import_drafts, overrides, prices, projects, proposals
from webapp.services import runs as run_service
from webapp.services import usage as usage_service
from webapp.services.usage import Report
from webapp.web import current

OUTPUT = Path(__file__).with_name("stored-costs.jsonl.xz")
NOW = datetime(2026, 11, 28, 19, tzinfo=UTC)
ACTOR = "ann@example.com"
NEW_PRICES, RUNS, RECORDS, CALLS_OF_A_PRICE = 200, 1_000, 400, 8
TABLES = (
    "registry_state", "providers", "models", "model_aliases", "prices", "price_rates", "price_verifications", "api_tokens", "projects",
    "project_overrides", "runs", "usage_records", "proposals", "proposal_rows", "import_drafts",
)  # fmt: skip
DICE = random.Random(16)

MODELS_OF_COPIES = ("openai/gpt-4o-audio-preview", "openai/gpt-4o-mini", "google/gemini-2.5-flash", "deepseek/deepseek-chat")


# 1. Prices


def amount(low: int = 1, high: int = 9_999_999) -> str:
    """Return an amount with 0 to 12 decimals."""
    return format(Decimal(DICE.randint(low, high)).scaleb(-DICE.choice((2, 3, 4, 6))).normalize(), "f")


def rate(meter: str, value: str | None = None, per: int = 1_000_000, **conditions: object) -> dict[str, object]:
    return {"meter": meter, "amount": value or amount(), "per": per} | conditions


def text_rates(**conditions: object) -> list[dict[str, object]]:
    meters = ["input", "output"] + [meter for meter in ("cache_read", "cache_write", "cache_write_1h", "reasoning") if DICE.random() < 0.5]
    return [rate(meter, **conditions) for meter in meters]


def media_rates() -> list[dict[str, object]]:
    media = [meter for meter in ("input_audio", "input_image", "output_audio", "cache_read") if DICE.random() < 0.6]
    return [rate("input"), rate("output"), *(rate(meter) for meter in media)]


def tier_rates() -> list[dict[str, object]]:
    tiers = DICE.sample(SERVICE_TIERS[1:], DICE.randint(1, 3))
    return text_rates() + [found for tier in tiers for found in text_rates(service_tier=tier)]


def threshold_rates() -> list[dict[str, object]]:
    thresholds = DICE.sample((0, 32_000, 128_000, 199_999, 200_000, 272_000), DICE.randint(1, 3))
    return text_rates() + [found for above in thresholds for found in text_rates(above=above)]


def window(days: list[int], start: str, end: str) -> dict[str, object]:
    return {"days": days, "from": start, "to": end}


WINDOWS = (
    [window([], "16:30", "00:30")],
    [window([5, 6], "00:00", "12:00"), window([0, 1, 2, 3], "22:00", "06:00")],
    [window([], "01:15", "05:45"), window([], "12:00", "13:00")],
    [window([6], "23:00", "01:00")],
)


def window_rates(**conditions: object) -> list[dict[str, object]]:
    return text_rates(**conditions) + [
        rate(meter, window=hours, **conditions) for hours in DICE.choice(WINDOWS) for meter in ("input", "output")
    ]


def all_kinds_of_rates() -> list[dict[str, object]]:
    return [
        *media_rates(),
        *text_rates(above=128_000),
        *window_rates(service_tier="batch"),
        *text_rates(above=128_000, service_tier="batch"),
    ]


def count_rates() -> list[dict[str, object]]:
    meters = DICE.sample(("image", "request", "second", "character", "page", "web_search"), DICE.randint(1, 4))
    return [rate(meter, per=DICE.choice((1, 100, 1_000, 1_000_000))) for meter in meters]


def tokens_and_counts() -> list[dict[str, object]]:
    return text_rates() + count_rates()


def rare_rates() -> list[dict[str, object]]:
    """Return the longest amounts and the rarest divisors."""
    return [
        rate("input", "0.000000000001", per=2**29), rate("output", "999999999.999999999999", per=1), rate("reasoning", "0", per=1_024),
        rate("image", "123456789.123456789012", per=5**12),
    ]  # fmt: skip


def part_rates() -> list[dict[str, object]]:
    """Return rates of parts without those of their wholes."""
    return [rate(meter) for meter in DICE.sample(("cache_read", "cache_write_1h", "input_audio", "reasoning", "output_audio"), 3)]


MAKERS = (
    text_rates, media_rates, tier_rates, threshold_rates, window_rates, all_kinds_of_rates, count_rates, tokens_and_counts, part_rates,
)  # fmt: skip


def price_values(number: int, start: datetime) -> dict[str, Any]:
    state = ("free", "unknown")[number // 20 % 2] if number % 20 == 19 else "priced"
    rates = [] if state != "priced" else rare_rates() if number % 40 == 7 else MAKERS[number % len(MAKERS)]()
    source: dict[str, object] = {
        "kind": ("manual", "import")[number % 2],
        "name": f"price list {number}",
        "url": "https://prices.example/list",
    }
    if number % 5 == 0:
        source["verified_at"] = "2026-11-01T10:00:00Z"
    return {
        "state": state, "currency": ("USD", "USD", "USD", "EUR", "CNY")[number % 5], "effective_from": start.isoformat(), "rates": rates,
        "source": source, "note": "" if number % 3 else f"note {number}",
    }  # fmt: skip


def add_prices() -> None:
    """Add dated prices, every fourth one scheduled; and correct every fifth, also seeded ones."""
    with writing() as session:
        model_ids = list(session.execute(select(Model.id).order_by(Model.id)).scalars())
        added = 0
        for number in count():
            if added == NEW_PRICES:
                break
            model_id = DICE.choice(model_ids[::2])
            past = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(days=DICE.randint(0, 500), hours=DICE.randint(0, 23))
            values = price_values(number, past if number % 4 else datetime(2027, 1 + number % 12, 1, tzinfo=UTC))
            if number % 5 == 0 and (wrong := correctable(session, model_id)):
                values |= {"corrects": wrong.id, "effective_from": wrong.effective_from.isoformat()}
            try:
                prices.add(session, model_id, values, actor=ACTOR, confirmed=[])
            except Conflict:  # Another price starts at this time.
                continue
            added += 1
        for price_id in list(session.execute(select(PriceRow.id).order_by(PriceRow.id)).scalars())[::60]:
            try:
                prices.verify(session, price_id, actor=ACTOR)
            except Conflict:  # It was corrected.
                continue


def correctable(session: Any, model_id: int) -> PriceRow | None:
    corrected = select(PriceRow.corrects_id).where(PriceRow.corrects_id.is_not(None))
    query = select(PriceRow).where(PriceRow.model_id == model_id, PriceRow.id.not_in(corrected)).order_by(PriceRow.id)
    found: PriceRow | None = session.execute(query).scalars().first()
    return found


# 2. Usages


def quantity() -> int:
    return DICE.choice((1, 7, 999, 12_345, 131_072, 200_001, 1_000_000, 10**9))


def share(total: int, meters: tuple[str, ...]) -> dict[str, int]:
    """Return random parts that fit into the total together."""
    parts: dict[str, int] = {}
    for meter in DICE.sample(meters, DICE.randint(0, len(meters))):
        parts[meter] = DICE.randint(0, total)
        total -= parts[meter]
    return parts


def usage() -> Usage:
    """Return a random usage that the rules of that commit accept."""
    used: dict[str, int] = {}
    if DICE.random() < 0.9:
        used |= {"input": quantity(), "output": quantity()}
        used |= share(used["input"], ("cache_read", "cache_write", "input_audio", "input_image"))
        if "cache_write" in used and DICE.random() < 0.5:
            used["cache_write_1h"] = DICE.randint(0, used["cache_write"])
        used |= share(used["output"], ("reasoning", "output_audio"))
    for meter in ("image", "request", "second", "character", "page", "web_search"):
        if DICE.random() < 0.2:
            used[meter] = quantity()
    if DICE.random() < 0.3:
        used = {meter: number for meter, number in used.items() if meter in ("input", "output", *TOKEN_METERS[6:])}
    return Usage(**used)


USAGES = [usage() for _ in range(300)] + [Usage(), Usage(input=10**12, output=10**12, reasoning=10**12), Usage(input_audio=0, input=5)]


def moment() -> datetime:
    """Return a time in two weeks, mostly on the minute, so that the edges of windows are met."""
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=DICE.randint(0, 13))
    clock = DICE.choice(
        ("00:00", "00:29", "00:30", "01:15", "05:45", "05:59", "06:00", "11:59", "12:00", "16:29", "16:30", "22:00", "23:59")
    )
    hours = time.fromisoformat(clock)
    return start.replace(hour=hours.hour, minute=hours.minute, second=DICE.choice((0, 0, 59)))


# 3. Runs and records


def add_runs() -> None:
    snapshot = current.registry().snapshot
    models = sorted((model for model in snapshot.models if model.prices), key=lambda model: model.ref)
    incident = incident_from({"title": "Disk almost full", "severity": "critical"})
    with writing() as session:
        for number in range(RUNS):
            model, at = DICE.choice(models), datetime(2025, 7, 1, tzinfo=UTC) + timedelta(minutes=DICE.randint(0, 700_000))
            choice = Choice("explicit ref", "openai", model, model.provider, model.model_id, explicit=True)
            used = None if number % 25 == 3 else DICE.choice(USAGES)
            cost = None if used is None else cost_of(model.price_at(at), used, at=at, model=model.ref)
            status, error = ("failed", ModeldeskError("No answer.")) if used is None else ("succeeded", None)
            if number % 50 == 9:
                choice, used, cost = LOCAL, Usage(), None
            outcome = Outcome(status, (), choice.driver, at, 100 + number, used, cost, error)
            run = run_service.record(session, Plan(incident, choice, None, None, "database"), outcome, actor=ACTOR)
            run.finished_at = at + timedelta(seconds=2)


def add_records() -> None:
    models = sorted((model for model in current.registry().snapshot.models if model.prices), key=lambda model: model.ref)
    with writing() as session:
        token = api_tokens.create(session, "billing", ["usage:write"], actor=ACTOR, project="shop")[0]
        for number in range(RECORDS):
            model, at = DICE.choice(models), datetime(2025, 7, 1, tzinfo=UTC) + timedelta(minutes=DICE.randint(0, 700_000))
            used, tier = DICE.choice(USAGES), DICE.choice(SERVICE_TIERS)
            cost = cost_of(model.price_at(at), used, at=at, service_tier=tier, model=model.ref)
            usage_service.record(session, Report(token.id, f"call-{number}", str(number).encode(), model.ref, used, cost))


# 4. Old formats


def own_price(start: datetime) -> Any:
    values = {"state": "priced", "currency": "USD", "effective_from": start.isoformat(), "rates": [rate("input", "1"), rate("output", "4")]}
    return price_entry(values)


def add_rules() -> None:
    with writing() as session:
        project = projects.create(session, {"slug": "shop", "display_name": "Shop"}, actor=ACTOR)
        for ref in MODELS_OF_COPIES[:2]:
            start = datetime(2026, 10, 1, tzinfo=UTC)
            overrides.add(session, project.id, Rule("price", ref, start, price=own_price(start)), actor=ACTOR)


FILE_OF_A_CATALOG = {
    "gpt-4o-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-07, "output_cost_per_token": 8e-07},
    "gpt-new": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06},
}


def add_proposal() -> None:
    read = catalogues.read("litellm", json.dumps(FILE_OF_A_CATALOG).encode())
    given = Comparison(current.registry().snapshot, read, None, Limits(), NOW)
    with writing() as session:
        proposals.open_one(session, given, actor=ACTOR)


def add_draft(text: str) -> None:
    upload, by = Upload("models.yaml", "yaml", text), Importing("bob@example.com", OutboundPolicy())
    with writing() as session:
        rehearsal = import_drafts.rehearse(session, upload, by, NOW)
        session.rollback()
    with writing() as session:
        import_drafts.hold(session, rehearsal, "bob@example.com", NOW)


NEW_MODEL = """\
format: modeldesk-registry
version: 1
models:
- provider: openai
  model_id: from-a-draft
  display_name: From a draft
  type: text
  prices:
  - state: priced
    effective_from: '2026-11-01T00:00:00Z'
    currency: USD
    rates:
    - {meter: input, amount: '1', per: 1000000}
    - {meter: output, amount: '4', per: 1000000}
"""


def old_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield an export and a last-good copy with a few models."""
    with db.session() as session:
        document = catalog_files.document(session)
    document["models"] = [row for row in document["models"] if f"{row['provider']}/{row['model_id']}" in MODELS_OF_COPIES]
    yield "export.yaml", catalog_text.written(document, as_json=False)
    yield "export.json", catalog_text.written(document, as_json=True)
    catalog = current.desk().source.load()
    few = replace(catalog, models=tuple(model for model in catalog.models if model.ref in MODELS_OF_COPIES), tokens=(), patterns=())
    copies = LastGoodFile(folder / "copy.json")
    copies.save(few, NOW)
    yield "last-good.json", copies.path.read_text(encoding="utf-8")


# 5. Output


def plain_value(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value) if isinstance(value, Decimal) else value


def table_lines() -> Iterator[dict[str, Any]]:
    """Yield each table with its rows. What is secret or random in a row is replaced by a fixed value."""
    fixed: Mapping[str, Mapping[str, object]] = {
        "registry_state": {"instance": "0" * 32, "key_check": None},
        "api_tokens": {"public_id": "0" * 10, "digest": bytes(32)},
    }
    for name in TABLES:
        table = Base.metadata.tables[name]
        columns = [column.name for column in table.columns]
        rows = [
            [plain_value(fixed.get(name, {}).get(column, value)) for column, value in zip(columns, row, strict=True)]
            for row in db.session.execute(select(table).order_by(table.c.id))
        ]
        yield {"table": name, "columns": columns, "rows": rows}


def cost_lines() -> Iterator[list[Any]]:
    """Yield calls of every price with their costs: price id, number of the usage, service tier, time, total, complete, missing, lines."""
    for row in db.session.execute(select(PriceRow).order_by(PriceRow.id)).scalars():
        price = prices.value_of(row)
        for _ in range(CALLS_OF_A_PRICE):
            number, tier, at = DICE.randrange(len(USAGES)), DICE.choice(SERVICE_TIERS), moment()
            cost = cost_of(price, USAGES[number], at=at, service_tier=DICE.choice(("standard", tier)))
            lines = [[line.meter, line.billed_as, line.quantity, str(line.cost)] for line in cost.lines]
            total = None if cost.total is None else str(cost.total)
            yield [row.id, number, cost.service_tier, at.isoformat(), total, cost.complete, list(cost.missing), lines]


class Clock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return NOW


def main() -> None:
    numbers = count(1)
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(secrets, "token_hex", lambda size=32: f"{next(numbers):0{2 * size}x}"),
        patch.object(secrets, "token_urlsafe", lambda size=32: f"{next(numbers):0{size}x}"),
        patch.object(secrets, "token_bytes", lambda size=32: next(numbers).to_bytes(size, "big")),
        patch.object(webapp.models.base, "datetime", Clock),
        patch.object(audit, "now", lambda: NOW),
    ):
        folder = Path(name)
        create_file(folder / "old.sqlite3")
        settings = settings_for(f"sqlite:///{folder}/old.sqlite3", folder / "instance")
        prepared(settings, seeded=True)
        app = create_app(settings)
        with app.app_context():
            write(folder)
            current.desk().refresher.stop()
            db.session.remove()
            db.engine.dispose()


def write(folder: Path) -> None:
    current.registry().refresh()
    add_prices()
    add_rules()
    add_runs()
    add_records()
    add_proposal()
    add_draft(NEW_MODEL)
    lines = [*table_lines(), {"usages": [found.as_dict() for found in USAGES]}, {"costs": list(cost_lines())}]
    lines += [{"file": name, "text": text} for name, text in old_files(folder)]
    text = "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in lines)
    OUTPUT.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


main()
