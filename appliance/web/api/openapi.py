"""The HTTP interface as OpenAPI 3.1, assembled from the `@describe` of each view."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from appliance import __version__
from appliance.web.api.describe import Content, Description, describe, description_of
from appliance.web.api.models import Answer, Problem
from appliance.web.security.policy import (
    ANALYZE,
    CAMERA,
    LOCAL,
    OPERATOR,
    PUBLIC,
    TOKEN,
    VIEWER,
    policy,
    policy_of,
    takes_basic,
)

blueprint = Blueprint("openapi", __name__)

_REFERENCE = "#/components/schemas/{model}"

_REFUSALS = {
    400: "Malformed, or the Host is not a name of this device",
    401: "Not logged in",
    403: "Not allowed: role, Origin, or the page's token is missing",
    411: "A body needs its Content-Length",
    413: "The body or the head is too large",
    429: "Too many requests; the header Retry-After says when to try again",
}
"""Answers that every route may give."""

_MEANING = {
    101: "WebSocket",
    200: "Done",
    303: "Redirect",
    404: "Not found",
    409: "The state does not allow this",
    415: "Expected another content type",
    422: "Consent is not declared, or the picture cannot be read",
    426: "Open it as a WebSocket",
    503: "Not available now",
    507: "Cannot be stored: the disk is full or cannot be written",
}

_FILE = {"type": "string", "format": "binary"}

_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    PUBLIC: [],
    VIEWER: [{"login": []}, {"token": []}],
    OPERATOR: [{"login": []}, {"token": []}],
    TOKEN: [{"login": []}, {"token": []}],
    ANALYZE: [{"login": []}, {"token": []}],
    CAMERA: [{"login": []}, {"token": []}],
    LOCAL: [{"token": []}],
}


class _Document(Answer):
    openapi: str
    paths: dict[str, Any]


@blueprint.get("/api/openapi.json")
@policy(VIEWER)
@describe({200: _Document})
def openapi_document() -> Response:
    """This description."""
    return jsonify(make_document(current_app))


def make_document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of all routes of an application, except its static files."""
    models, paths = _models(app), dict[str, dict[str, Any]]()
    definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)[1]
    for rule, method in operations(app):
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        paths.setdefault(path, {})[method.lower()] = _operation(app, rule)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Interview Grader",
            "version": __version__,
            "description": "On the network: TLS and a login, or a token. On loopback: see access.loopback.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "login": {"type": "apiKey", "in": "cookie", "name": "__Host-interview-grader"},
                "token": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the password is a token of role viewer.",
                },
            },
        },
    }


def operations(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every route with each of its methods, once: a WebSocket has two rules with the same path."""
    seen = set()
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}):
            if rule.endpoint != "static" and (rule.rule, method) not in seen:
                seen.add((rule.rule, method))
                yield rule, method


def _models(app: Flask) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {Problem: None}
    for rule, _method in operations(app):
        description = description_of(app.view_functions[rule.endpoint])
        if description is not None:
            messages = (description.messages, description.replies, description.client_messages)
            forms = description.form, description.form_with_file
            inner = [description.body, *forms, *messages, *description.answers.values()]
            found.update({each: None for each in inner if isinstance(each, type)})
    return list(found)


def _operation(app: Flask, rule: Rule) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    description = description_of(view) or Description({200: None})
    needed = policy_of(app, rule.endpoint)
    summary, _, rest = (inspect.getdoc(view) or rule.rule).partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": rule.endpoint,
        "summary": " ".join(summary.split()),
        "x-policy": needed,
        "security": [*_SECURITY[needed], *([{"basic": []}] if takes_basic(app, rule.endpoint) else [])],
        "parameters": [*_path_parameters(rule), *_query_parameters(description)],
        "responses": _responses(description),
    }
    if rest:
        operation["description"] = " ".join(rest.split())
    if content := _request_body(description):
        operation["requestBody"] = {"required": True, "content": content}
    for name, model in (
        ("x-message", description.messages),
        ("x-reply", description.replies),
        ("x-client-message", description.client_messages),
    ):
        if model:
            operation[name] = _schema(model)
    return operation


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    names = sorted(rule.arguments)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(description: Description) -> list[dict[str, Any]]:
    if description.query is None:
        return []
    schema = description.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "schema": found, **({"required": True} if name in required else {})}
        for name, found in schema["properties"].items()
    ]


def _request_body(description: Description) -> dict[str, Any]:
    found: dict[str, Any] = {kind: {"schema": _FILE} for kind in description.files}
    if description.body:
        found["application/json"] = {"schema": _schema(description.body)}
    if description.form:
        found["application/x-www-form-urlencoded"] = {"schema": _schema(description.form)}
    if description.form_with_file:
        kinds = {
            name: {"contentType": ", ".join(description.files)}
            for name in description.form_with_file.model_fields
        }
        found["multipart/form-data"] = {"schema": _schema(description.form_with_file), "encoding": kinds}
    return found


def _responses(description: Description) -> dict[str, Any]:
    found = {str(status): _response(meaning, Problem) for status, meaning in _REFUSALS.items()}
    for status, content in description.answers.items():
        own = _response(_MEANING.get(status, "See the description"), content)
        refusal = found.get(str(status), {})
        # The view's own answer, or the refusal before the view, which has the same status.
        found[str(status)] = {**own, "content": {**refusal.get("content", {}), **own.get("content", {})}}
    return dict(sorted(found.items()))


def _response(meaning: str, content: Content) -> dict[str, Any]:
    if content is None:
        return {"description": meaning}
    if isinstance(content, str):
        return {"description": meaning, "content": {content: {}}}
    return {"description": meaning, "content": {"application/json": {"schema": _schema(content)}}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
