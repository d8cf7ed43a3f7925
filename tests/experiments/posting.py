"""A process that reports usage until its standard input closes, and then prints the status and the seconds of each report as JSON."""

import http.client
import json
import sys
import threading
import time

PAUSE_S = 0.02


def main() -> None:
    port, token = int(sys.argv[1]), sys.argv[2]
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    results, number = [], 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"model": "openai/gpt-4o-mini", "usage": {"input": 1000}})
    while not is_over.is_set():
        number += 1
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": f"{time.time_ns()}-{number}"}
        start = time.monotonic()
        connection.request("POST", "/api/v1/usage", body, headers)
        response = connection.getresponse()
        response.read()
        results.append((response.status, time.monotonic() - start))
        time.sleep(PAUSE_S)
    print(json.dumps(results))  # noqa: T201 # the result of this process


main()
