"""The Flask application: blueprints, checks before each request, headers after it, errors as status codes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import partial

from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException

from appliance.errors import TooManyAttempts
from appliance.web.api import openapi
from appliance.web.api.bodies import json_answer
from appliance.web.api.models import Problem
from appliance.web.api.statuses import STATUS
from appliance.web.context import KEY, AppContext
from appliance.web.pages import (
    about,
    camera,
    data_subject,
    live,
    login,
    one_time_links,
    pictures,
    recordings,
    session,
    status,
    terms,
    users,
    webcam,
)
from appliance.web.security import body_sizes, policy
from appliance.web.security.caller import caller
from appliance.web.security.csrf import csrf_token

_CSP = "Content-Security-Policy"
_HEADERS = {
    _CSP: (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class _Request(Request):
    """A request whose files stay in memory: by default a large one would be written to the disk."""

    def _get_file_stream(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO()


def create_app(context: AppContext) -> Flask:
    """The application whose views use this context."""
    app = Flask(__name__)
    app.request_class = _Request
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the seven names keep their order
    app.extensions[KEY] = context
    register_pages(app)
    app.before_request(body_sizes.check_body_size)
    app.before_request(policy.check_request)
    app.before_request(body_sizes.let_body_come)
    app.after_request(login.renew_cookie)
    headers = {**_HEADERS, **_framing_headers(context.network.frame_ancestors)}
    app.after_request(partial(_add_headers, headers))
    app.context_processor(lambda: {"caller": caller(), "csrf_token": csrf_token()})
    app.register_error_handler(HTTPException, _answer_http_error)
    for kind in STATUS:
        app.register_error_handler(kind, _answer_error)
    policy.require_policies(app)
    app.wsgi_app = context.proxies.wrap(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def register_pages(app: Flask) -> None:
    """Add every route; `create_app` adds what they need to answer requests."""
    pages = (about, users, recordings, live, login, data_subject, openapi, session, status, terms)
    for part in (*pages, camera, one_time_links, pictures, webcam):
        app.register_blueprint(part.blueprint)


def _framing_headers(origins: tuple[str, ...]) -> dict[str, str]:
    """Who may frame the pages. `X-Frame-Options` cannot name other origins, so it is left out for them."""
    named = " ".join(("'self'", *origins))
    headers = {_CSP: f"{_HEADERS[_CSP]}; frame-ancestors {named}"}
    return headers if origins else {**headers, "X-Frame-Options": "SAMEORIGIN"}


def _add_headers(headers: Mapping[str, str], response: Response) -> Response:
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _answer_http_error(error: HTTPException) -> Response:
    response = json_answer(Problem(error=str(error.description)), error.code or 500)
    response.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return response


def _answer_error(error: Exception) -> Response:
    response = json_answer(Problem(error=str(error)), STATUS[type(error)])
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(math.ceil(error.wait_s))
    elif response.status_code == 503:
        response.headers["Retry-After"] = "5"
    return response
