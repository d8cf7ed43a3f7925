"""The driver registry, the cost of importing it, and the built-in rules as a driver."""

import subprocess
import sys

import pytest

from webapp.config.settings import ROOT
from webapp.domain.incidents.incidents import Incident
from webapp.domain.incidents.samples import SAMPLES_BY_SLUG
from webapp.domain.triage.host_metrics import DiskMetrics, HostMetrics, ProcessMetrics
from webapp.drivers import DRIVERS, availability, create_adviser, create_driver, driver_names
from webapp.drivers.core.base import ERROR_MESSAGES, RETRYABLE_KINDS, ChatRequest, DriverError, Endpoint
from webapp.drivers.local import LocalDriver, collect_host_metrics
from webapp.security.urlguard import OutboundPolicy

PLENTY = HostMetrics(20.0, 0.0, 3.0, 0.1, 8, (DiskMetrics("/", 30.0),), (ProcessMetrics(1, "init", 0.1, 2.0, 30.5),))


def test_the_names_are_those_of_the_vocabulary():
    assert " ".join(driver_names()) == "local openai claude gemini copilot grok ollama mistral custom"


def test_every_driver_of_the_vocabulary_is_there():
    assert {name: availability(name) for name in DRIVERS} == dict.fromkeys(DRIVERS, (True, None))


@pytest.mark.parametrize("name", ["no-such-driver", "", "base", "../openai", "os"])
def test_an_unknown_driver_is_not_available_and_says_what_is_known(name):
    usable, reason = availability(name)
    assert not usable
    assert "openai" in reason


MISSING = {"claude": "anthropic", "gemini": "google", "mistral": "mistralai", "ollama": "ollama", "grok": "openai", "custom": "openai"}


@pytest.mark.parametrize(("name", "package"), MISSING.items(), ids=MISSING)
def test_a_driver_without_its_sdk_says_which_command_installs_it(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # As if it were not installed.
    usable, reason = availability(name)
    assert (usable, f'pip install "{DRIVERS[name].requirement}"' in reason) == (False, True)
    with pytest.raises(DriverError, match="not installed") as caught:
        create_driver(Endpoint("acme", name), OutboundPolicy())
    assert caught.value.kind == "config"


def test_the_requirements_are_those_that_the_tests_use():
    declared = (ROOT / "pyproject.toml").read_text()
    assert [info.requirement for info in DRIVERS.values() if f'"{info.requirement}"' not in declared] == []


def test_an_unknown_driver_is_an_error_in_words():
    with pytest.raises(DriverError, match="unknown driver"):
        create_driver(Endpoint("acme", "os"), OutboundPolicy())


def test_importing_the_drivers_imports_no_sdk_and_no_http_client():
    program = (
        "import sys, webapp.drivers; webapp.drivers.availability('openai'); "
        "print(sorted({'openai', 'anthropic', 'google.genai', 'mistralai', 'ollama', 'httpx', 'httpx2', 'httpcore2', 'psutil'} "
        "& set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_an_endpoint_shows_neither_key_nor_headers():
    shown = repr(Endpoint("acme", "openai", "https://x.example", "sk-secret", {"extra_headers": {"X-Key": "sk-secret"}}))
    assert "sk-secret" not in shown


@pytest.mark.parametrize("kind", ERROR_MESSAGES)
def test_every_kind_of_error_says_what_to_do_and_what_we_answer(kind):
    error = DriverError(kind)
    assert (error.code, error.detail) == (kind, ERROR_MESSAGES[kind])
    assert ":" in error.detail
    assert error.detail.endswith(".")
    assert error.status in (422, 502, 504)
    assert error.retryable == (kind in RETRYABLE_KINDS)


def test_a_timeout_is_never_asked_again():
    assert not DriverError("timeout").retryable


def test_only_an_incident_about_this_host_looks_at_it():
    looks = []
    driver = LocalDriver(lambda: looks.append(1) or PLENTY)
    driver.advise(SAMPLES_BY_SLUG["disk-full"].incident())
    assert looks == []
    advice = driver.advise(SAMPLES_BY_SLUG["this-host"].incident())
    assert looks == [1]
    assert {"20 %", "30 %"} <= {percent for recommendation in advice for percent in ("20 %", "30 %") if percent in recommendation.title}


def test_this_host_is_looked_at_without_command_lines():
    metrics = collect_host_metrics()
    assert 0 < metrics.memory_percent <= 100
    assert metrics.cores >= 1
    assert metrics.disks
    assert metrics.processes
    assert ProcessMetrics.__slots__ == ("pid", "name", "cpu_percent", "memory_percent", "memory_mb")


def test_the_local_driver_works_without_key_or_address_and_does_not_chat():
    driver = create_driver(Endpoint("local", "local"), OutboundPolicy())
    assert driver.check().ok
    assert driver.list_models() == ()
    assert create_adviser().advise(Incident("Disk usage at 97 %"))[0].type == "disk"
    with pytest.raises(DriverError, match="local rules"):
        driver.chat(ChatRequest("m", "s", "u"))
