"""A real OpenID provider on loopback (`oidc-provider-mock`) that can return false claims, signatures or responses."""

import base64
import hashlib
import json
import threading
import warnings
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import flask
import httpx2
from werkzeug.serving import make_server


def unsigned(token: str) -> dict:
    """Return the claims of a token without verifying its signature."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def encoded(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Provider:
    """An OpenID provider with adjustable responses.

    `claims` overrides claims of ID tokens (None removes a claim). `sign` replaces the signature. `answers` replaces the response of a path.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The mock uses a deprecated part of Authlib.
            import oidc_provider_mock  # noqa: PLC0415

            self.app = oidc_provider_mock.app(require_nonce=True)
        self.claims: dict[str, object] = {}
        self.sign: Callable[[dict, dict], str] | None = None
        self.answers: dict[str, Callable[[], flask.Response]] = {}
        self.seen: list[tuple[str, dict, dict]] = []
        self.tokens: list[str] = []
        self.app.before_request(self._before)
        self.app.after_request(self._after)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.place = f"127.0.0.1:{self._server.server_port}"
        self.issuer = f"http://{self.place}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def person(self, subject: str, **claims: object) -> None:
        httpx2.put(f"{self.issuer}/users/{subject}", json=claims).raise_for_status()

    def agree(self, location: str, subject: str) -> str:
        """Sign a user in at the provider, like a browser redirected to `location`. Return the redirect URL."""
        response = httpx2.post(location, data={"sub": subject})
        assert response.status_code == 302, response.text
        return response.headers["location"]

    def asked(self, path: str) -> int:
        return sum(request_path == path for request_path, _, _ in self.seen)

    def _before(self) -> flask.Response | None:
        request = flask.request
        self.seen.append((request.path, request.form.to_dict(), dict(request.headers)))
        return self.answers[request.path]() if request.path in self.answers else None

    def _after(self, response: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/token" and response.status_code == 200 and response.is_json:
            body = response.get_json()
            claims = {name: value for name, value in (unsigned(body["id_token"]) | self.claims).items() if value is not None}
            key = flask.g.oidc_provider_mock_storage.jwk
            body["id_token"] = (self.sign or signed)(claims, key.as_dict(is_private=True))
            self.tokens += [body["id_token"], body["access_token"]]
            response.set_data(json.dumps(body))
        return response


def signed(claims: dict, key: dict, algorithm: str = "RS256") -> str:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    rsa_key = RSAKey.import_key(key)
    return jwt.encode({"alg": algorithm, "kid": rsa_key.ensure_kid() or rsa_key.kid}, claims, rsa_key, algorithms=[algorithm])


def by_another_key(claims: dict, key: dict) -> str:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    return jwt.encode({"alg": "RS256", "kid": key.get("kid")}, claims, RSAKey.generate_key(2048), algorithms=["RS256"])


def by_nobody(claims: dict, key: dict) -> str:
    return f"{encoded({'alg': 'none'})}.{encoded(claims)}."


def by_the_public_key(claims: dict, key: dict) -> str:
    """Sign with HS256 and the published key as the shared secret."""
    import hmac  # noqa: PLC0415

    from joserfc.jwk import RSAKey

    secret = RSAKey.import_key(key).as_pem(private=False)
    text = f"{encoded({'alg': 'HS256'})}.{encoded(claims)}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
