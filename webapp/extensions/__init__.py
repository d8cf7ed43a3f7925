"""Flask extensions, created without an app."""

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from webapp.extensions.audit_guard import insist_on_a_trail
from webapp.extensions.engine import refuse_stray_writes
from webapp.models import Base

db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate(render_as_batch=True, compare_type=True)
login = LoginManager()
csrf = CSRFProtect()

refuse_stray_writes(db.session)
insist_on_a_trail(db.session)
