"""JSON bodies and queries: requests are parsed into models, answers are made of models."""

from __future__ import annotations

from typing import TypeVar

from flask import Response, abort, jsonify, request
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound="RequestBody")
Query = TypeVar("Query", bound=BaseModel)


class RequestBody(BaseModel):
    """The body of a request: exactly these keys."""

    model_config = ConfigDict(extra="forbid")


def parse_body(model: type[Model], expected: str) -> Model:
    """The body of the current request; ends it with 400 or 415, and `expected` as an example."""
    hint = f"expected JSON like {expected}"
    if not request.is_json:
        abort(415, f"not Content-Type application/json; {hint}")
    try:
        return model.model_validate(request.get_json())
    except RecursionError:
        abort(400, f"the JSON is nested too deeply; {hint}")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        abort(400, f"{faults}; {hint}")


def parse_query(model: type[Query]) -> Query:
    """The parameters after the ?; ends the request with 400 when one of them is not as described."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        abort(400, f"{faults}; see /api/openapi.json for what {request.path} takes")


def json_answer(answer: BaseModel, status: int = 200) -> Response:
    """An answer as JSON, with the keys in the order of the model."""
    response = jsonify(answer.model_dump(mode="json", by_alias=True))
    response.status_code = status
    return response
