"""The processes of the server: their start, their end, and what follows when one of them ends by itself."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import psutil
import pytest
from environment import settings_for
from server import wire
from server.wire import END, ask, connect, parse, received
from serving import engine_of, environment_of, free_port

from webapp.config.settings import ROOT


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + END + b"\r\n"


def pid_of(port: int) -> int:
    return ask(port, request("/echo")).json["pid"]


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def messages(server) -> list[str]:
    return [json.loads(line)["message"] for line in server.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def pair(templates, tmp_path_factory):
    """A server with two workers."""
    with wire.start(templates, tmp_path_factory.mktemp("pair"), workers=2, MAX_SILENT_TICKS="3") as server:
        yield server


def test_all_workers_serve(pair):
    pids = {worker.pid for worker in pair.workers()}
    assert len(pids) == 2
    wait_until(lambda: {pid_of(pair.port) for _ in range(20)} == pids)


def test_a_killed_worker_is_started_again_and_the_log_names_the_cause(pair):
    """What the other worker has under way is not touched."""
    line = connect(pair.port, request("/sleep?4"))
    time.sleep(0.5)
    idle = next(worker for worker in pair.workers() if not is_busy(worker))
    idle.kill()
    wait_until(lambda: len([worker for worker in pair.workers() if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]) == 2)
    assert parse(received(line)).status == 200
    assert any(re.fullmatch(rf"worker \d \(process {idle.pid}\) ended \(SIGKILL\) and is started again", text) for text in messages(pair))


def is_busy(worker: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_ESTABLISHED for connection in worker.net_connections("tcp"))


def test_a_worker_that_is_killed_again_and_again_comes_back_each_time(pair):
    for _ in range(5):
        for worker in pair.workers():
            worker.kill()
        wait_until(lambda: ask_or_none(pair.port) == 200)


def ask_or_none(port: int) -> int | None:
    try:
        return ask(port, request("/healthz")).status
    except (OSError, IndexError):
        return None


def test_a_blocked_worker_is_ended_and_the_log_says_so(pair):
    """Code that holds the interpreter stops all threads of its process. Another worker goes on, and the blocked one is replaced."""
    before = {worker.pid for worker in pair.workers()}
    line = connect(pair.port, request("/block?90000000000"))
    wait_until(lambda: any("was blocked for 3 seconds" in text for text in messages(pair)))
    wait_until(lambda: {worker.pid for worker in pair.workers()} != before)
    line.close()
    assert ask(pair.port, request("/healthz")).status == 200


def test_workers_end_when_the_main_process_is_killed(templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        workers = server.workers()
        server.master.kill()
        psutil.wait_procs(workers, timeout=10)
        assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_term_lets_requests_finish(templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        line = connect(server.port, request("/sleep?6"))
        time.sleep(1)
        server.master.terminate()
        start = time.monotonic()
        assert parse(received(line)).status == 200
        assert time.monotonic() - start > 3
        assert server.master.wait(5) == 0
        with pytest.raises(ConnectionRefusedError):
            connect(server.port)


def test_a_second_signal_ends_at_once(templates, tmp_path):
    with wire.start(templates, tmp_path) as server:
        line = connect(server.port, request("/sleep?60"))
        time.sleep(0.5)
        server.master.terminate()
        server.master.terminate()  # make passes the signal on, and the terminal sends it too: that is one signal.
        time.sleep(1.5)
        assert server.master.is_running()
        server.master.send_signal(signal.SIGINT)
        server.master.wait(5)
        assert received_or_reset(line) == b""
        assert any("is ended with what was under way" in text for text in messages(server))


def received_or_reset(line: socket.socket) -> bytes:
    try:
        return received(line)
    except ConnectionResetError:
        return b""


def test_requests_that_take_too_long_are_ended(templates, tmp_path):
    with wire.start(templates, tmp_path, FINISH="2") as server:
        connect(server.port, request("/sleep?60")).close()
        time.sleep(0.5)
        server.master.terminate()
        server.master.wait(8)


def test_ctrl_c_reaches_all_processes_and_ends_them_cleanly(templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        line = connect(server.port, request("/sleep?3"))
        time.sleep(0.5)
        for process in (server.master, *server.workers()):
            process.send_signal(signal.SIGINT)
        assert parse(received(line)).status == 200
        assert server.master.wait(5) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_worker_that_ends_takes_back_its_report(templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        with closing(server.client(server.token("registry:read"))) as client:
            client.ask("GET", "/defaults")
        engine = server.engine()
        wait_until(lambda: reports(engine) == 2)
        server.master.terminate()
        server.master.wait(10)
        assert reports(engine) == 0
        engine.dispose()


def test_the_job_worker_lives_and_ends_with_the_server(templates, tmp_path):
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    settings, port = settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), free_port()
    environment = environment_of(settings, PORT=str(port), WEB_CONCURRENCY="1")
    command = [sys.executable, "-m", "webapp.server", "--job-worker"]
    engine = engine_of(settings)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: job_workers(engine) == 1, 60)
        server = psutil.Process(process.pid)
        for child in server.children():
            child.kill()
        wait_until(lambda: job_workers(engine) == 2 and len(server.children()) == 2)  # The report of the killed one fades later.
        assert ask(port, request("/healthz")).status == 200
        engine.dispose()
        process.terminate()
        assert process.wait(10) == 0
    assert not list(tmp_path.glob("desk.sqlite3-[ws]*"))  # The WAL is applied and removed.
    assert job_workers(engine) == 1
    engine.dispose()


def job_workers(engine) -> int:
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM job_workers").scalar_one()


def reports(engine) -> int:
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM registry_processes").scalar_one()


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "webapp.server", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WEB_CONCURRENCY", "many", "modeldesk: WEB_CONCURRENCY"),
        ("WEB_CONCURRENCY", "0", "modeldesk: WEB_CONCURRENCY"),
        ("WEB_THREADS", "-1", "modeldesk: WEB_THREADS"),
        ("PORT", "0", "modeldesk: PORT"),
        ("PORT", "70000", "modeldesk: PORT"),
        ("HOST", "no.such.host.invalid", "modeldesk: HOST and PORT cannot be used"),
        ("HOST", "192.0.2.1", "modeldesk: HOST and PORT cannot be used"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_start_with_one_sentence(tmp_path, name, value, sentence):
    environment = environment_of(settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), PORT=str(free_port()))
    stopped = run(environment | {name: value}, "--prepare")
    assert (stopped.returncode, stopped.stdout, stopped.stderr.count("\n")) == (1, "", 1)
    assert stopped.stderr.startswith(sentence)


def test_a_port_in_use_is_reported_first_in_one_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environment = environment_of(settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), PORT=str(port))
        stopped = run(environment, "--prepare")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr == f"Port {port} is in use. Choose another: make run PORT={port + 1}\n"
    assert not (tmp_path / "desk.sqlite3").exists()


def test_a_second_server_cannot_share_the_port(pair):
    environment = {**pair.environment, "PORT": str(pair.port)}
    assert run(environment).stderr == f"Port {pair.port} is in use. Choose another: make run PORT={pair.port + 1}\n"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_addresses_are_served(templates, tmp_path, host):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    settings, port = settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), free_port()
    environment = environment_of(settings, HOST=host, PORT=str(port), WEB_CONCURRENCY="1", PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", "webapp.server"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout.readline().startswith(f"Modeldesk serves on http://[::1]:{port} with 1 worker.")
            with closing(http.client.HTTPConnection("::1", port, timeout=10)) as client:
                client.request("GET", "/metrics", headers={"Host": "localhost"})
                assert client.getresponse().status == 200  # The address of the client is recognized as loopback.
        finally:
            process.terminate()


def test_the_set_up_link_is_printed_when_the_server_accepts_requests(tmp_path):
    """It carries the address of the server and works at once. The lines before it come from a server that already responds."""
    port, environment = free_port(), environment_of(settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path))
    environment |= {"PORT": str(port), "WEB_CONCURRENCY": "1"}
    command = [sys.executable, "-m", "webapp.server", "--prepare"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            output = []
            while not (link := re.search(r"/setup/\S+", "".join(output))):
                output.append(process.stdout.readline())
                assert output[-1], "".join(output)
            assert output[0].startswith("Modeldesk serves on")
            assert f"http://127.0.0.1:{port}/setup/" in "".join(output)
            assert ask(port, request(link[0])).status == 200
        finally:
            watchdog.cancel()
            process.terminate()


def test_an_invalid_setting_of_the_desk_stops_the_start_before_a_worker_exists(tmp_path):
    environment = environment_of(settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), PORT=str(free_port()))
    stopped = run(environment | {"MODELDESK_CACHE_TTL": "never"})
    assert (stopped.returncode, stopped.stderr.count("\n")) == (1, 1)
    assert stopped.stderr.startswith("modeldesk: MODELDESK_CACHE_TTL")


def test_a_start_that_cannot_prepare_ends(tmp_path):
    database = tmp_path / "desk.sqlite3"
    database.write_bytes(b"no database at all" * 1000)
    stopped = run(
        environment_of(settings_for(f"sqlite:///{database}", tmp_path), PORT=str(free_port()), MODELDESK_CACHE_TTL="x"), "--prepare"
    )
    assert stopped.returncode == 1
    assert "Traceback" not in stopped.stderr
