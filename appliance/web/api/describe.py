"""The description of a route: what it takes and answers, declared next to its view."""

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
"""The content of a body: a model (JSON), a media type, or nothing."""

_ATTRIBUTE = "appliance_description"


@dataclass(frozen=True)
class Description:
    """The parts of a description that cannot be read from the code."""

    answers: Mapping[int, Content]
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    files: tuple[str, ...] = ()
    form_with_file: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    messages: type[BaseModel] | None = None
    replies: type[BaseModel] | None = None
    client_messages: type[BaseModel] | None = None


def describe(
    answers: Mapping[int, Content],
    *,
    body: type[BaseModel] | None = None,
    form: type[BaseModel] | None = None,
    files: tuple[str, ...] = (),
    form_with_file: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    messages: type[BaseModel] | None = None,
    replies: type[BaseModel] | None = None,
    client_messages: type[BaseModel] | None = None,
) -> Callable[[View], View]:
    """Declare what a view answers with each status, and what it takes.

    `body`: JSON, `form`: a form, `files`: the media types of a file, `form_with_file`: a form that has one,
    `query`: parameters after the ?, `messages`: those of a WebSocket,
    `client_messages`: what its client may send, `replies`: the answers to them. Leave out the refusals that
    every route has: host, login, role, rate.
    """

    def declare(view: View) -> View:
        found = Description(
            answers,
            body=body,
            form=form,
            files=files,
            form_with_file=form_with_file,
            query=query,
            messages=messages,
            replies=replies,
            client_messages=client_messages,
        )
        setattr(view, _ATTRIBUTE, found)
        return view

    return declare


def description_of(view: object) -> Description | None:
    """The description of a view, None if it has none."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Description) else None
