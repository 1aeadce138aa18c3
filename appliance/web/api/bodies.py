"""The JSON bodies of requests: read, checked, and refused in one sentence."""

from __future__ import annotations

from typing import TypeVar

from flask import abort, request
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound="Body")


class Body(BaseModel):
    """The body of a request: exactly these keys."""

    model_config = ConfigDict(extra="forbid")


def body(model: type[Model], expected: str) -> Model:
    """The body of the current request; ends it with 400 or 415, and `expected` as an example."""
    said = f"expected JSON like {expected}"
    if not request.is_json:
        abort(415, f"not Content-Type application/json; {said}")
    try:
        return model.model_validate(request.get_json())
    except RecursionError:
        abort(400, f"the JSON is nested too deeply; {said}")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        abort(400, f"{faults}; {said}")
