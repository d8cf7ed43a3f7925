"""Negative control of E9: an application that parses JSON with Python's parser, without limits. Only that test serves it."""

import json

from experiments.offline_app import app

from webapp.api.v1.core import json_body


def parse_object(text, *, floats=False):
    return json.loads(text)


json_body.parse_json_object = parse_object
__all__ = ["app"]
