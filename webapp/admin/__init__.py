"""The admin for staff, on Flask-Admin."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Nothing is here yet."""
