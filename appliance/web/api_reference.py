"""The HTTP API as Markdown: `python -m appliance.web.api_reference > docs/http-api.md`.

It is made from the OpenAPI document that a device serves as `/api/openapi.json`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, TypeAlias

from flask import Flask

from appliance.web.api.openapi import make_document
from appliance.web.app import register_pages

Json: TypeAlias = "dict[str, Any]"

_INTRODUCTION = """\
# HTTP API

This page is generated from the code (`python -m appliance.web.api_reference`); a test fails when it is out of
date. A device serves the same description for programs, as OpenAPI 3.1, at `/api/openapi.json`.

Scripts send a token with each request: `Authorization: Bearer TOKEN` ([access](access.md)). Browsers send
the cookie of their login; their POST requests also need the page's token, in the header `X-CSRF-Token` or the
form field `csrf_token`. Programs that know only user names and passwords send a viewer token as the password
of HTTP Basic, to the routes marked so.

| policy | who may call the route |
|---|---|
| public | anyone |
| viewer | viewers and operators |
| operator | operators |
| token | tokens of role metrics and operator; on the device itself anyone, if `access.loopback` allows it |
| analyze | operators, tokens of role analyze, and guests of a one-time link to `/webcam` |
| camera | operators, and guests of a one-time link to `/camera` |
| local | root and the service's user, on the device itself |
"""

_GROUPS = {
    "live": "Live picture and readings",
    "status": "State and health",
    "pictures": "Single pictures",
    "webcam": "A browser's own webcam",
    "session": "Running a session",
    "terms": "Notice and jurisdiction",
    "recordings": "Recorded sessions",
    "data_subject": "The link of the person who was read",
    "camera": "A browser as the camera",
    "one_time_links": "One-time links",
    "login": "Logging in and out",
    "users": "Accounts and tokens",
    "about": "The models",
    "openapi": "The API itself",
}
"""Blueprint -> heading, in the order of the page."""

_FORM = "application/x-www-form-urlencoded"
_KINDS = {"application/json": "JSON", _FORM: "form", "multipart/form-data": "form with a file"}

_MESSAGES = {
    "x-message": "Messages",
    "x-client-message": "Messages of the client",
    "x-reply": "Answers to them",
}

_LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minLength": "from {}",
    "maxLength": "up to {} characters",
    "pattern": "matching `{}`",
}


def read_document() -> Json:
    """The OpenAPI document of this version."""
    app = Flask("appliance.web")
    register_pages(app)
    return make_document(app)


def reference_lines(document: Json) -> Iterator[str]:
    """The lines of the page."""
    yield _INTRODUCTION
    common = _common_answers(document)
    yield "Every route may also answer:\n"
    yield "| status | meaning |"
    yield "|---|---|"
    for status, meaning in sorted(common.items()):
        yield f"| {status} | {meaning} |"
    yield "\nRefusals have a JSON body, [Problem](#problem), which says why and what to do.\n"
    for group, operations in _grouped(document).items():
        yield f"## {_GROUPS.get(group, group)}\n"
        for method, path, operation in operations:
            yield from _operation_lines(f"{method.upper()} {path}", operation, common)
    yield "## Bodies and answers\n"
    yield "Answers may get more keys in later versions; ignore those that you do not know.\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema_lines(name, schema)


def _grouped(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    found: defaultdict[str, list[tuple[str, str, Json]]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["operationId"].partition(".")[0]].append((method, path, operation))
    order = [*_GROUPS, *(group for group in found if group not in _GROUPS)]
    return {group: found[group] for group in order if group in found}


def _common_answers(document: Json) -> dict[str, str]:
    """Status -> meaning, of the answers that most routes share."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    counted = Counter(
        (status, answer["description"])
        for operation in operations
        for status, answer in operation["responses"].items()
        if not status.startswith("2")
    )
    return {status: meaning for (status, meaning), count in counted.items() if 2 * count > len(operations)}


def _operation_lines(title: str, operation: Json, common: dict[str, str]) -> Iterator[str]:
    yield f"### `{title}`\n"
    yield " ".join(filter(None, (operation["summary"], operation.get("description")))) + "\n"
    basic = ", also with HTTP Basic" if {"basic": []} in operation["security"] else ""
    yield f"- Policy: {operation['x-policy']}{basic}"
    for each in operation["parameters"]:
        where = "in the path" if each["in"] == "path" else "after the `?`"
        yield f"- `{each['name']}`, {where}: {_words(each['schema'])}"
    bodies = operation.get("requestBody", {}).get("content", {})
    if files := [
        f"`{kind}`" for kind, content in bodies.items() if content["schema"].get("format") == "binary"
    ]:
        yield f"- Body: a file, {', '.join(files)}"
    for kind, content in bodies.items():
        if kind in _KINDS:
            yield f"- Body: {_KINDS[kind]}, {_words(content['schema'])}"
    for key, name in _MESSAGES.items():
        if key in operation:
            yield f"- {name}: {_words(operation[key])}"
    for status, answer in operation["responses"].items():
        if common.get(status) != answer["description"]:
            yield f"- {status}: {answer['description']}{_content(answer, status)}"
    yield ""


def _content(answer: Json, status: str) -> str:
    """What an answer has as its body; the body of a refusal is described once, above."""
    found = [
        _words(content["schema"]) if "schema" in content else f"`{kind}`"
        for kind, content in answer.get("content", {}).items()
    ]
    if not found or (not status.startswith("2") and found == ["[Problem](#problem)"]):
        return ""
    return f" ({', '.join(found)})"


def _schema_lines(name: str, schema: Json) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield f"{' '.join(schema['description'].split())}\n"
    if not schema.get("properties"):
        return
    yield "| key | type | what it is |"
    yield "|---|---|---|"
    needed = schema.get("required", [])
    for key, found in schema["properties"].items():
        notes = [found["description"]] if "description" in found else []
        if key not in needed:
            notes.append(f"default: `{json.dumps(found.get('default'))}`")
        yield f"| `{key}` | {_words(found)} | {'; '.join(notes)} |"
    yield ""


def _words(schema: Json) -> str:
    """A type in words, with its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if schema.get("format") == "binary":
        return "file"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        count = schema.get("minItems")
        exact = f"{count} " if count is not None and count == schema.get("maxItems") else ""
        each = [_words(item) for item in schema.get("prefixItems") or [schema["items"]]]
        return f"list of {exact}{_plural(each[0])}" if len(set(each)) == 1 else f"list: {', '.join(each)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object, each value: {_words(schema['additionalProperties'])}"
    limits = [words.format(schema[key]) for key, words in _LIMITS.items() if key in schema]
    return f"{kind} ({' '.join(limits)})" if limits else kind


def _plural(words: str) -> str:
    """Of a type: `numbers`; the name of a model stays as it is."""
    kind, _, limits = words.partition(" (")
    if kind not in ("string", "number", "integer"):
        return words
    return f"{kind}s ({limits}" if limits else f"{kind}s"


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference_lines(read_document())))
