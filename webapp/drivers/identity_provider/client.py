"""Client of the identity provider (OpenID Connect), on Authlib, with the same guarded HTTP client and policy as the vendor drivers."""

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from webapp.domain.accounts.openid import Challenge, OpenId, TokenRefused
from webapp.domain.shared.errors import Invalid
from webapp.drivers.core.base import DriverError
from webapp.drivers.core.failures import CallRunner
from webapp.drivers.core.http import GuardedTransport, quiet_loggers
from webapp.security.urlguard import OutboundPolicy

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import OAuth2Client

DISCOVERY = "/.well-known/openid-configuration"
DEADLINE_S, MAX_BYTES = 10.0, 500_000
CACHE_S, FAILURE_CACHE_S = 300.0, 5.0
MAX_CONCURRENT_CALLS, SLOT_TIMEOUT_S = 4, 1.0  # A provider that hangs must not occupy every thread of a worker.
LEEWAY_S = 60
# Signatures with a key that only the provider has. Never `none`, and never HS*, for which a public key would suffice.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The provider's discovery metadata, with every address vetted."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    secret_in_body: bool


class IdentityProvider:
    """Client of one provider. Thread-safe. Raises `DriverError` if the provider cannot be called."""

    def __init__(self, settings: OpenId, policy: OutboundPolicy, redirect_uri: str) -> None:
        self._settings, self._policy, self._redirect_uri = settings, policy, redirect_uri
        self._runner = CallRunner((settings.client_secret,))
        self._slots = threading.BoundedSemaphore(MAX_CONCURRENT_CALLS)
        self._cached_metadata: tuple[float, _Metadata | DriverError] | None = None

    def authorization_url(self, challenge: Challenge, *, fresh: bool) -> str:
        """Return the URL for the browser. With `fresh`, the provider must authenticate the user again."""
        extra = {"prompt": "login", "max_age": "0"} if fresh else {}
        metadata = self.metadata()
        with self._create_client({}) as client:
            url, _ = client.create_authorization_url(
                metadata.authorization, state=challenge.state, code_verifier=challenge.verifier, nonce=challenge.nonce, **extra
            )
        return str(url)

    def fetch_claims(self, code: str, challenge: Challenge) -> Mapping[str, object]:
        """Exchange the code for the claims about the user. Raises `TokenRefused` unless the whole token is valid."""
        metadata = self.metadata()
        token, keys = self._call_provider(lambda: (self._exchange_code(metadata, code, challenge), self._fetch_document(metadata.keys)))
        claims = self._validate_token(token, keys, challenge)
        missing = [name for name in ("email", "email_verified", self._settings.role_claim) if name and name not in claims]
        if not missing or metadata.userinfo is None:
            return claims
        userinfo = self._fetch_userinfo(metadata.userinfo, str(token.get("access_token", "")))
        if userinfo.get("sub") != claims["sub"]:
            raise TokenRefused("The identity provider told of somebody else.", code="userinfo")
        return {**claims, **{name: userinfo[name] for name in missing if name in userinfo}}

    def metadata(self) -> _Metadata:
        """Return the metadata from discovery.

        It is cached for minutes, and a failure for seconds, so that anonymous users cannot cause a request each time.
        """
        cached = self._cached_metadata
        if cached is None or cached[0] <= time.monotonic():
            cached = self._cached_metadata = self._discover()
        if isinstance(cached[1], DriverError):
            raise DriverError(cached[1].kind, cached[1].detail)
        return cached[1]

    def _discover(self) -> tuple[float, _Metadata | DriverError]:
        try:
            document = self._call_provider(lambda: self._fetch_document(self._settings.issuer.rstrip("/") + DISCOVERY))
            return time.monotonic() + CACHE_S, self._parse_metadata(document)
        except DriverError as error:
            return time.monotonic() + FAILURE_CACHE_S, error

    def _parse_metadata(self, document: Mapping[str, Any]) -> _Metadata:
        if document.get("issuer") != self._settings.issuer:
            raise DriverError("config", "The provider's discovery document names another issuer than MODELDESK_OIDC_ISSUER.")
        methods = document.get("token_endpoint_auth_methods_supported")
        supported = {str(method) for method in methods} if isinstance(methods, list) else set()
        return _Metadata(
            authorization=self._endpoint_url(document, "authorization_endpoint"),
            token=self._endpoint_url(document, "token_endpoint"),
            keys=self._endpoint_url(document, "jwks_uri"),
            userinfo=self._endpoint_url(document, "userinfo_endpoint") if document.get("userinfo_endpoint") else None,
            secret_in_body="client_secret_post" in supported and "client_secret_basic" not in supported,
        )

    def _endpoint_url(self, document: Mapping[str, Any], name: str) -> str:
        address = document.get(name)
        if not isinstance(address, str):
            raise DriverError("config", f"The provider's discovery document has no {name}.")
        try:
            self._policy.check_url(address.partition("?")[0])
        except Invalid as error:
            raise DriverError("config", f"The provider's {name} is refused: {error.detail}") from None
        return address

    def _exchange_code(self, metadata: _Metadata, code: str, challenge: Challenge) -> dict[str, Any]:
        with self._create_client(
            {} if metadata.secret_in_body else {"authorization": self._basic_auth()}, in_body=metadata.secret_in_body
        ) as client:
            return dict(client.fetch_token(metadata.token, grant_type="authorization_code", code=code, code_verifier=challenge.verifier))

    def _fetch_document(self, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        with self._create_client(headers or {}) as client:
            response = client.request("GET", address, withhold_token=True, headers={"accept": "application/json"})
            response.raise_for_status()
            document = response.json()
        if response.status_code != 200 or not isinstance(document, dict):
            raise ValueError("not a JSON object")
        return document

    def _fetch_userinfo(self, address: str, access_token: str) -> dict[str, Any]:
        return self._call_provider(lambda: self._fetch_document(address, {"authorization": f"Bearer {access_token}"}))

    def _validate_token(self, token: Mapping[str, Any], keys: Mapping[str, Any], challenge: Challenge) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        entries = keys.get("keys")
        usable = [
            key for key in (entries if isinstance(entries, list) else []) if isinstance(key, dict) and key.get("kty") in ("RSA", "EC")
        ]
        required = {
            "iss": {"essential": True, "value": self._settings.issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
        }
        expected = {"nonce": challenge.nonce, "client_id": self._settings.client_id, "access_token": token.get("access_token")}
        try:
            key_set = KeySet.import_key_set({"keys": [key for key in usable if key.get("use", "sig") == "sig"]})
            registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
            decoded = jwt.decode(str(token.get("id_token", "")), key_set, registry=registry)
            claims = CodeIDToken(decoded.claims, decoded.header, required, expected)
            claims.validate(leeway=LEEWAY_S)
        except Exception as error:  # Any error denies the sign-in. Its text is dropped, because it can contain the token.
            reason = str(getattr(error, "claim", "") or type(error).__name__)
            raise TokenRefused("The identity provider's answer was not accepted.", code=reason) from None
        return dict(claims)

    def _create_client(self, headers: Mapping[str, str], *, in_body: bool = False) -> "OAuth2Client":
        """Create an Authlib client over the guarded transport, which alone decides the headers to send."""
        from authlib.integrations.httpx_client import OAuth2Client

        quiet_loggers()
        return OAuth2Client(
            self._settings.client_id,
            self._settings.client_secret,
            redirect_uri=self._redirect_uri,
            scope="openid email profile" if self._settings.role_claim else "openid email",
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_post" if in_body else "none",
            transport=GuardedTransport(self._policy, headers),
            timeout=None,
            follow_redirects=False,
            trust_env=False,
        )

    def _basic_auth(self) -> str:
        """Return the Basic auth header. RFC 6749, 2.3.1: each half is encoded before they are joined."""
        pair = f"{quote(self._settings.client_id, safe='')}:{quote(self._settings.client_secret, safe='')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _call_provider(self, work: Callable[[], T]) -> T:
        if not self._slots.acquire(timeout=SLOT_TIMEOUT_S):
            raise DriverError("overloaded", "The identity provider is being asked by others already.")
        try:
            return self._runner.run(lambda _: work(), time.monotonic() + DEADLINE_S, MAX_BYTES)
        finally:
            self._slots.release()
