"""The OpenAPI document: it describes every route."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from flask import Flask

from appliance.web.api.describe import description_of
from appliance.web.api.openapi import make_document
from appliance.web.app import create_app
from appliance.web.security import policy
from tests.fakes.web import make_context

APP = create_app(make_context())
DOCUMENT = make_document(APP)


def routes(app: Flask) -> set[tuple[str, str]]:
    """Path and method of everything that can be called, from the URL map alone."""
    return {
        (re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
    }


def test_it_names_every_route_and_no_other() -> None:
    assert {(path, method) for path, found in DOCUMENT["paths"].items() for method in found} == routes(APP)


def test_every_route_is_described_next_to_its_view() -> None:
    views = APP.view_functions
    assert [name for name in views if name != "static" and description_of(views[name]) is None] == []


def test_it_is_openapi_with_every_reference_resolved() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemas = DOCUMENT["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)):
        assert name in schemas
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_security_is_that_of_the_policies() -> None:
    for rule in APP.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        needed = policy.policy_of(APP, rule.endpoint)
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for operation in DOCUMENT["paths"][path].values():
            if operation["operationId"] == rule.endpoint:
                assert operation["x-policy"] == needed
                assert bool(operation["security"]) is (needed != policy.PUBLIC)


def test_routes_with_arguments_or_without_a_description_are_included() -> None:
    app = create_app(make_context())
    app._got_first_request = False
    app.add_url_rule("/sessions/<string:id>", "plain", policy.policy(policy.OPERATOR)(lambda id: id))
    found = make_document(app)["paths"]["/sessions/{id}"]["get"]
    assert found["parameters"] == [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert found["x-policy"] == "operator"


@pytest.mark.parametrize("path", ["/api/session/start", "/login", "/access/add"])
def test_bodies_are_described(path: str) -> None:
    (content,) = DOCUMENT["paths"][path]["post"]["requestBody"]["content"].values()
    assert content["schema"]["$ref"].rpartition("/")[2] in DOCUMENT["components"]["schemas"]
