"""HTTP Basic: a viewer token as the password, for programs that know nothing else."""

from __future__ import annotations

from base64 import b64encode

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.auth.rate_limits import FREE_TRIES
from appliance.errors import TooManyAttempts
from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.fakes.consent import NOTICE
from tests.fakes.web import make_context, pictures

FAR = "192.0.2.77"
ROUTES = ["/stream.mjpg", "/snapshot.jpg", "/api/state"]
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


@pytest.fixture
def context() -> AppContext:
    """A device on the network, with login and TLS, and a session."""
    context = make_context(login=True)
    context.session.start(NOTICE, "operator")
    return context


@pytest.fixture
def client(context: AppContext) -> FlaskClient:
    return client_of(context)


def client_of(context: AppContext, address: str = FAR) -> FlaskClient:
    client = create_app(context).test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def ask(
    client: FlaskClient, path: str, password: str | None, headers: dict[str, str] | None = None
) -> TestResponse:
    """The answer to one request, unread; `password` None: without credentials."""
    given = {} if password is None else {"Authorization": basic(password)}
    with client.get(path, base_url="https://192.0.2.5", headers={**given, **(headers or {})}) as answer:
        return answer


def basic(password: str, name: str = "anything") -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def events(context: AppContext, event: str) -> list[dict[str, object]]:
    return [each for each in context.audit.entries() if each["event"] == event]


@pytest.mark.parametrize("path", ROUTES)
def test_a_viewer_token_is_a_password_and_sets_no_cookie(
    context: AppContext, client: FlaskClient, path: str
) -> None:
    token = context.auth.tokens.create("dashboard", "viewer")
    with pictures(context):
        answer = ask(client, path, token)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    if path != "/api/state":
        assert [entry["who"] for entry in events(context, "viewer")] == ["token:dashboard"]
    context.auth.tokens.revoke("dashboard")
    assert ask(client, path, token).status_code == 401


def test_no_other_route_takes_it(context: AppContext, client: FlaskClient) -> None:
    token = context.auth.tokens.create("dashboard", "viewer")
    for path in ("/", "/about", "/notice", "/api/openapi.json", "/ws/live", "/sessions", "/metrics"):
        answer = ask(client, path, token)
        assert answer.status_code == 401, path
        assert [text.split()[0] for text in answer.headers.getlist("WWW-Authenticate")] == ["Bearer"], path


def test_the_password_of_an_account_is_not_taken(context: AppContext, client: FlaskClient) -> None:
    context.auth.accounts.add_viewer("anna", "a long enough password")
    headers = {"Authorization": basic("a long enough password", "anna")}
    assert ask(client, "/api/state", None, headers).status_code == 401


@pytest.mark.parametrize("role", ["operator", "metrics"])
def test_a_token_with_another_role_is_refused_and_is_no_wrong_try(
    context: AppContext, client: FlaskClient, role: str
) -> None:
    token = context.auth.tokens.create("script", role)
    for _ in range(FREE_TRIES + 1):
        assert ask(client, "/api/state", token).status_code == 401
    assert events(context, "login_failed") == []


def test_wrong_passwords_are_wrong_tries_of_their_address(context: AppContext, client: FlaskClient) -> None:
    token = context.auth.tokens.create("dashboard", "viewer")
    found = [ask(client, "/api/state", "ig_wrong") for _ in range(FREE_TRIES + 1)]
    assert [answer.status_code for answer in found] == [401] * FREE_TRIES + [429]
    assert int(found[-1].headers["Retry-After"]) >= 1
    assert [entry["address"] for entry in events(context, "login_failed")] == [FAR] * FREE_TRIES
    with pytest.raises(TooManyAttempts):
        context.auth.login_attempts.begin(FAR, "operator")
    assert ask(client, "/api/state", token).status_code == 200, "who has a token does not guess"
    assert ask(client_of(context, "192.0.2.78"), "/api/state", "ig_wrong").status_code == 401


@pytest.mark.parametrize("credentials", ["Basic", "Basic !", "Basic =", f"Basic {b64encode(b'x').decode()}"])
def test_malformed_credentials_are_refused(client: FlaskClient, credentials: str) -> None:
    assert ask(client, "/api/state", None, {"Authorization": credentials}).status_code == 401


@pytest.mark.parametrize("path", ROUTES)
def test_a_program_gets_the_challenge(client: FlaskClient, path: str) -> None:
    answer = ask(client, path, None)
    asked = answer.headers.getlist("WWW-Authenticate")
    assert answer.status_code == 401
    assert asked == ['Basic realm="Interview Grader"', 'Bearer realm="Interview Grader"']


@pytest.mark.parametrize("headers", [BROWSER, {"Sec-Fetch-Site": "same-origin"}])
@pytest.mark.parametrize("path", ROUTES)
def test_a_browser_never_gets_the_challenge(client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    """It would open its own dialog over the page, whose script only asks for the state."""
    answer = ask(client, path, None, headers)
    assert answer.status_code == 401
    assert [text.split()[0] for text in answer.headers.getlist("WWW-Authenticate")] == ["Bearer"]


def test_without_tls_it_is_taken_on_loopback_only() -> None:
    context = make_context(open_to_network=True, loopback_is_operator=False)
    token = context.auth.tokens.create("dashboard", "viewer")
    here, far = client_of(context, "127.0.0.1"), client_of(context)
    assert ask(here, "/api/state", token).status_code == 200
    assert ask(here, "/api/state", "ig_wrong").status_code == 401
    for _ in range(FREE_TRIES + 1):
        assert ask(far, "/api/state", "ig_wrong").status_code == 200, "open to everyone, and not looked at"
    assert len(events(context, "login_failed")) == 1
