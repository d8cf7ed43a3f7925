"""Negative control of E4: an application whose workers never check for changes. Only that test serves it."""

import os

from webapp.app import create_app
from webapp.config.loading import load
from webapp.runtime.container import KEY

app = create_app(load(os.environ))
app.extensions[KEY].registry.poll = 3_600.0
