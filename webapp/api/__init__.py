"""JSON for other applications, by bearer token only."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Nothing is here yet."""
