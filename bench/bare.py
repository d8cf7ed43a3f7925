"""HTTP peer: a minimal Flask application that responds with the same bytes."""

import os
from pathlib import Path

from flask import Flask, Response

body = Path(os.environ["BENCH_BODY"]).read_bytes()
app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def answer() -> Response:
    return Response(body, content_type="application/json")
