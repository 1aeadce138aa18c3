"""How large a body may be: more than 64 KiB only for routes that declare it, and callers who may call them.

The server asks before it reads a larger body, see `transport.wsgi.HEAD_ONLY`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Response, abort, current_app, request

from appliance.web.transport.server import MAX_BODY_BYTES
from appliance.web.transport.wsgi import CONTINUE, HEAD_ONLY

View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE = "appliance_body_size"


def max_body(limit: int, expected: str) -> Callable[[View], View]:
    """Declare that a route takes bodies of up to `limit` bytes; `expected`: the limit in words."""

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, (limit, expected))
        return view

    return declare


def check_body_size() -> None:
    """Before the policy is checked: end a request with 413 whose body is larger than its route takes."""
    view = current_app.view_functions.get(request.endpoint or "")
    limit, expected = getattr(view, _ATTRIBUTE, (MAX_BODY_BYTES, f"at most {MAX_BODY_BYTES}"))
    size = request.content_length or 0
    if size > limit:
        abort(413, f"the body has {size} bytes; expected {expected}")


def let_body_come() -> Response | None:
    """After the policy was checked: let the server read the large body of this request."""
    return Response(status=CONTINUE) if request.environ.get(HEAD_ONLY) else None
