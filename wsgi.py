"""Entry point of the web server (webapp/server), of any other WSGI server, and of the flask command: `flask --app wsgi`."""

import os
import sys

from webapp.app import create_app
from webapp.config.loading import load
from webapp.config.reader import ConfigError
from webapp.security import keyfiles

try:
    keyfiles.ensure(os.environ)
    app = create_app(load(os.environ))
except ConfigError as error:
    sys.exit(f"modeldesk: {error}")
