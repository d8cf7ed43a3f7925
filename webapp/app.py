"""Composition root: the only module that imports every package. It performs no I/O, and one process can hold two applications."""

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
    """Return the application for these settings."""
    logs.configure(redaction.log_redactor(*list_secrets(settings)))
    app = Flask(__name__, template_folder="../templates", static_folder="../static", instance_path=str(settings.instance_path))
    app.config.from_mapping(flask_config(settings))
    app.url_map.merge_slashes = False  # A ref whose id starts with a slash contains two, and each URL must have one meaning.
    db.init_app(app)
    migrate.init_app(app, db)
    login.init_app(app)
    app.before_request(requests.assign_request_id)  # Before the CSRF check, which can reject the request.
    csrf.init_app(app)
    with app.app_context():
        container.attach(app, create_container(settings, db.engine))
    if settings.proxies:  # Only for the client address: proxies preserve the host, and MODELDESK_BASE_URL sets the scheme.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)  # type: ignore[method-assign] # documented by Flask
    for part in (requests, stepup, errors, headers, templating, pages, api, admin, cli):
        part.init_app(app)
    if settings.access_log:  # Outermost, because some requests are answered before Flask.
        app.wsgi_app = AccessLog(app.wsgi_app)  # type: ignore[method-assign] # documented by Flask
    return app


def list_secrets(settings: Settings) -> list[str | None]:
    """Return the secrets that must never appear in a log, in any encoding."""
    openid_secret = settings.openid.client_secret if settings.openid else None
    environment_values = [value for name, value in settings.environment.values.items() if name not in RUN_VARIABLES]
    return [
        settings.secret_key,
        openid_secret,
        make_url(settings.database_url).password,
        *(settings.encryption_keys or "").split(","),
        *environment_values,
    ]


def create_container(settings: Settings, engine: Engine) -> Container:
    """Return the application's services that do not depend on Flask."""
    guard_engine(engine, settings.sqlite_path)
    last_good = LastGoodFile(settings.last_good_path)
    source = DatabaseSource(engine)
    registry = ModelRegistry(source, last_good, ttl=settings.cache_ttl, poll=settings.revision_poll)
    report = ProcessReport(engine)
    policy = OutboundPolicy(settings.outbound_allow)
    require_allowed_issuer(settings, policy)
    health = DatabaseHealth(engine, settings.sqlite_path)
    refresher = Refresher(registry, report, health)
    limiter = CallLimiter(settings.threads)
    return Container(
        settings,
        registry,
        refresher,
        Vault(settings.encryption_keys, settings.encryption_keys_source),
        policy,
        last_good,
        report,
        source,
        health,
        limiter,
    )


def require_allowed_issuer(settings: Settings, policy: OutboundPolicy) -> None:
    """Raise `ConfigError` if the outbound policy rejects the URL of the identity provider."""
    try:
        if settings.openid is not None:
            policy.check_url(settings.openid.issuer)
    except Invalid as error:
        raise ConfigError(f"MODELDESK_OIDC_ISSUER cannot be used. {error.detail}") from None


def flask_config(settings: Settings) -> dict[str, object]:
    """Return the configuration of Flask and its extensions."""
    path = settings.sqlite_path
    return {
        "SECRET_KEY": settings.secret_key,
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{path}" if path else settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(path),
        "TRUSTED_HOSTS": list(settings.trusted_hosts),
        "MAX_FORM_MEMORY_SIZE": 500_000,
        "MAX_FORM_PARTS": 1_000,
        # With the prefix, browsers accept the cookie only over TLS and only from this host, not from sibling domains.
        "SESSION_COOKIE_NAME": "__Host-modeldesk" if settings.base_url.startswith("https://") else "modeldesk",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.base_url.startswith("https://"),
        "SEND_FILE_MAX_AGE_DEFAULT": 31_536_000,  # URLs of static files change with their content.
        "WTF_CSRF_TIME_LIMIT": None,  # Valid as long as the session, so that a page left open can still be saved.
        "WTF_CSRF_CHECK_DEFAULT": True,
    }
