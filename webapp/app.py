"""The composition root: the one module that knows every package. No I/O happens here; two applications can live in one process."""

from flask import Flask
from sqlalchemy import Engine, make_url
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import admin, api, cli, pages
from webapp.config.reader import ConfigError
from webapp.config.settings import Settings
from webapp.domain.credentials.environment_keys import RUN_VARIABLES
from webapp.domain.shared.errors import Invalid
from webapp.extensions import csrf, db, login, migrate
from webapp.extensions.engine import engine_options, guard_engine
from webapp.observability import logs
from webapp.registry.database_health import DatabaseHealth
from webapp.registry.last_good import LastGoodFile
from webapp.registry.loader import DatabaseSource
from webapp.registry.refresher import ProcessReport, Refresher
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container
from webapp.runtime.call_limiter import CallLimiter
from webapp.runtime.container import Container
from webapp.security import redaction
from webapp.security.urlguard import OutboundPolicy
from webapp.security.vault import Vault
from webapp.web import errors, headers, requests, stepup, templating
from webapp.web.access_log import AccessLog


def create_app(settings: Settings) -> Flask:
    """The application for these settings."""
    logs.configure(redaction.log_redactor(*list_secrets(settings)))
    app = Flask(__name__, template_folder="../templates", static_folder="../static", instance_path=str(settings.instance_path))
    app.config.from_mapping(flask_config(settings))
    app.url_map.merge_slashes = False  # A model id may hold two slashes; and no address should mean two things.
    db.init_app(app)
    migrate.init_app(app, db)
    login.init_app(app)
    app.before_request(requests.assign_request_id)  # First: the check against forged forms, which comes next, refuses by itself.
    csrf.init_app(app)
    with app.app_context():
        container.attach(app, create_container(settings, db.engine))
    if settings.proxies:  # Only the address of the client; the host is passed on as it is, and the scheme is that of MODELDESK_BASE_URL.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)  # type: ignore[method-assign] # Flask's own way
    for part in (requests, stepup, errors, headers, templating, pages, api, admin, cli):
        part.init_app(app)
    if settings.access_log:  # Outermost: some questions are answered before Flask.
        app.wsgi_app = AccessLog(app.wsgi_app)  # type: ignore[method-assign] # likewise
    return app


def list_secrets(settings: Settings) -> list[str | None]:
    """What must be in no log, however it is spelt."""
    openid = settings.openid.client_secret if settings.openid else None
    given = [value for name, value in settings.environment.values.items() if name not in RUN_VARIABLES]
    return [settings.secret_key, openid, make_url(settings.database_url).password, *(settings.encryption_keys or "").split(","), *given]


def create_container(settings: Settings, engine: Engine) -> Container:
    """The parts of the application that are not Flask's."""
    guard_engine(engine, settings.sqlite_path)
    copies = LastGoodFile(settings.last_good_path)
    source = DatabaseSource(engine)
    registry = ModelRegistry(source, copies, ttl=settings.cache_ttl, poll=settings.revision_poll)
    report = ProcessReport(engine)
    policy = OutboundPolicy(settings.outbound_allow)
    require_allowed_issuer(settings, policy)
    watch = DatabaseHealth(engine, settings.sqlite_path)
    refresher = Refresher(registry, report, watch)
    turns = CallLimiter(settings.threads)
    return Container(
        settings,
        registry,
        refresher,
        Vault(settings.encryption_keys, settings.encryption_keys_source),
        policy,
        copies,
        report,
        source,
        watch,
        turns,
    )


def require_allowed_issuer(settings: Settings, policy: OutboundPolicy) -> None:
    """Raises `ConfigError` for an identity provider that the outbound policy refuses by its looks."""
    try:
        if settings.openid is not None:
            policy.check_url(settings.openid.issuer)
    except Invalid as error:
        raise ConfigError(f"MODELDESK_OIDC_ISSUER cannot be used. {error.detail}") from None


def flask_config(settings: Settings) -> dict[str, object]:
    """Flask's own settings."""
    path = settings.sqlite_path
    return {
        "SECRET_KEY": settings.secret_key,
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{path}" if path else settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(path),
        "TRUSTED_HOSTS": list(settings.trusted_hosts),
        "MAX_CONTENT_LENGTH": 1_000_000,
        "MAX_FORM_MEMORY_SIZE": 500_000,
        "MAX_FORM_PARTS": 1_000,
        # With the prefix, browsers take it over TLS only, from this host only, and from no sibling domain.
        "SESSION_COOKIE_NAME": "__Host-modeldesk" if settings.base_url.startswith("https://") else "modeldesk",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.base_url.startswith("https://"),
        "SEND_FILE_MAX_AGE_DEFAULT": 31_536_000,  # Addresses of static files change with their content.
        "WTF_CSRF_TIME_LIMIT": None,  # Bound to the session: a page left open over lunch still saves.
        "WTF_CSRF_CHECK_DEFAULT": True,
    }
