"""Negative control of E15: an application that counts guesses in the memory of each worker. Only that test serves it."""

import os
from collections import Counter
from datetime import timedelta

from webapp.app import create_app
from webapp.config.loading import load
from webapp.services.accounts import login_throttle

_counted: Counter[str] = Counter()


def register(session, guess, now):
    _counted[guess.account] += 1
    return timedelta(minutes=5) if _counted[guess.account] > login_throttle.PER_ACCOUNT else None


login_throttle.register = register
app = create_app(load(os.environ))
