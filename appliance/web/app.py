"""The Flask application: blueprints, checks before each request, headers after it, errors as status codes."""

from __future__ import annotations

import math

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from appliance.errors import (
    AccessError,
    Busy,
    SlotClosed,
    StateConflict,
    StoreError,
    TooManyAttempts,
    TooManyViewers,
)
from appliance.web.api import openapi
from appliance.web.api.bodies import json_answer
from appliance.web.api.models import Problem
from appliance.web.context import KEY, AppContext
from appliance.web.pages import (
    about,
    data_subject,
    live,
    login,
    recordings,
    session,
    status,
    terms,
    users,
)
from appliance.web.security import policy
from appliance.web.security.caller import caller
from appliance.web.security.csrf import csrf_token
from appliance.web.transport.connection import MAX_BODY_BYTES

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}

_STATUS: dict[type[Exception], int] = {
    AccessError: 400,
    StateConflict: 409,
    TooManyAttempts: 429,
    TooManyViewers: 503,
    Busy: 503,
    SlotClosed: 503,
    StoreError: 507,
}
"""The HTTP status of each of our errors; every other exception is a bug: 500."""


def create_app(context: AppContext) -> Flask:
    """The application whose views use this context."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the seven names keep their order
    app.extensions[KEY] = context
    register_pages(app)
    app.before_request(policy.check_request)
    app.after_request(login.renew_cookie)
    app.after_request(_add_headers)
    app.context_processor(lambda: {"caller": caller(), "csrf_token": csrf_token()})
    app.register_error_handler(HTTPException, _answer_http_error)
    for kind in _STATUS:
        app.register_error_handler(kind, _answer_error)
    policy.require_policies(app)
    app.wsgi_app = context.proxies.wrap(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def register_pages(app: Flask) -> None:
    """Add every route; `create_app` adds what they need to answer requests."""
    for part in (about, users, recordings, live, login, data_subject, openapi, session, status, terms):
        app.register_blueprint(part.blueprint)


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _answer_http_error(error: HTTPException) -> Response:
    response = json_answer(Problem(error=str(error.description)), error.code or 500)
    response.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return response


def _answer_error(error: Exception) -> Response:
    response = json_answer(Problem(error=str(error)), _STATUS[type(error)])
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(math.ceil(error.wait_s))
    elif response.status_code == 503:
        response.headers["Retry-After"] = "5"
    return response
