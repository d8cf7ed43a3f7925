"""Negative control of T02: an application that skips the password check for unknown accounts. Only that test serves it."""

import os

from webapp.app import create_app
from webapp.config.loading import load
from webapp.security import passwords

_verify = passwords.verify
passwords.verify = lambda password_hash, password: password_hash is not None and _verify(password_hash, password)
app = create_app(load(os.environ))
