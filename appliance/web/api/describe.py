"""What a route takes and gives, declared beside its view, for the description of the interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., object])

JPEG, HTML, TEXT, MJPEG = "image/jpeg", "text/html", "text/plain", "multipart/x-mixed-replace"
PDF = "application/pdf"
"""Media types of answers that are not JSON."""

Content = type[BaseModel] | str | None
"""What is in a body: a model (JSON), a media type, or nothing."""

_ATTRIBUTE = "appliance_description"


@dataclass(frozen=True)
class Description:
    """The parts of a description that the code cannot tell by itself."""

    answers: Mapping[int, Content]
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    messages: type[BaseModel] | None = None


def describe(
    answers: Mapping[int, Content],
    *,
    body: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    messages: type[BaseModel] | None = None,
) -> Callable[[View], View]:
    """Say which statuses a view answers with what, and what it takes.

    `body` as JSON, `form` as a form, `query` after the ?; `messages` are those of a WebSocket. Refusals that
    every route has (host, login, role, rate) need not be named.
    """

    def declare(view: View) -> View:
        found = Description(answers, body=body, form=form, query=query, messages=messages)
        setattr(view, _ATTRIBUTE, found)
        return view

    return declare


def description_of(view: object) -> Description | None:
    """What was declared beside a view, None if nothing was."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Description) else None
