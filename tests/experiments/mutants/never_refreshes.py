"""The negative control of E4: a desk whose workers never look whether something changed. Never served to anybody but that test."""

import os

from webapp.app import create_app
from webapp.config.loading import load
from webapp.runtime.container import KEY

app = create_app(load(os.environ))
app.extensions[KEY].registry.poll = 3_600.0
