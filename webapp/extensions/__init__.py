"""Flask extensions, created without an app."""

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from webapp.extensions.audit_guard import require_audit_event
from webapp.extensions.engine import require_write_transaction
from webapp.models import Base

db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate(render_as_batch=True, compare_type=True)
login = LoginManager()
csrf = CSRFProtect()

require_write_transaction(db.session)
require_audit_event(db.session)
