"""The negative control of E9: a desk that reads JSON as Python does, deep, huge and broken. Never served to anybody but that test."""

import json

from experiments.offline_app import app

from webapp.api.v1.core import json_body


def parse_object(text, *, floats=False):
    return json.loads(text)


json_body.parse_json_object = parse_object
__all__ = ["app"]
