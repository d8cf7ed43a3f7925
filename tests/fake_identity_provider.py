"""A real OpenID provider on loopback (`oidc-provider-mock`), which can be told to lie in one thing at a time."""

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
    """What a token says, without looking at its signature."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encoded(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Provider:
    """`claims` changes what ID tokens say (None leaves a claim out), `sign` how they are signed, `answers` what a path answers instead."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The mock still uses an older part of Authlib.
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
        """Signs somebody in there, as a browser would that was sent to `location`; gives the address that leads back."""
        answer = httpx2.post(location, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def asked(self, path: str) -> int:
        return sum(seen == path for seen, _, _ in self.seen)

    def _before(self) -> flask.Response | None:
        request = flask.request
        self.seen.append((request.path, request.form.to_dict(), dict(request.headers)))
        return self.answers[request.path]() if request.path in self.answers else None

    def _after(self, response: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/token" and response.status_code == 200 and response.is_json:
            body = response.get_json()
            said = {name: value for name, value in (unsigned(body["id_token"]) | self.claims).items() if value is not None}
            key = flask.g.oidc_provider_mock_storage.jwk
            body["id_token"] = (self.sign or signed)(said, key.as_dict(is_private=True))
            self.tokens += [body["id_token"], body["access_token"]]
            response.set_data(json.dumps(body))
        return response


def signed(said: dict, key: dict, algorithm: str = "RS256") -> str:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    found = RSAKey.import_key(key)
    return jwt.encode({"alg": algorithm, "kid": found.ensure_kid() or found.kid}, said, found, algorithms=[algorithm])


def by_another_key(said: dict, key: dict) -> str:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    return jwt.encode({"alg": "RS256", "kid": key.get("kid")}, said, RSAKey.generate_key(2048), algorithms=["RS256"])


def by_nobody(said: dict, key: dict) -> str:
    return f"{encoded({'alg': 'none'})}.{encoded(said)}."


def by_the_public_key(said: dict, key: dict) -> str:
    """HS256, with the published key as the secret that both sides know."""
    import hmac  # noqa: PLC0415

    from joserfc.jwk import RSAKey

    secret = RSAKey.import_key(key).as_pem(private=False)
    text = f"{encoded({'alg': 'HS256'})}.{encoded(said)}"
    mark = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"
