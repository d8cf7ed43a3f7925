"""The application for E5. Its registry's clock runs through a day in HURRY seconds."""

import os
import time
from datetime import UTC, datetime

from webapp.app import create_app
from webapp.config.loading import load
from webapp.runtime.container import KEY

BEGAN, FASTER = time.time(), 86_400 / float(os.environ["HURRY"])


def clock() -> datetime:
    return datetime.fromtimestamp(BEGAN + (time.time() - BEGAN) * FASTER, UTC)


app = create_app(load(os.environ))
registry = app.extensions[KEY].registry
registry._clock, registry._this_second = clock, lambda: clock().replace(microsecond=0)
