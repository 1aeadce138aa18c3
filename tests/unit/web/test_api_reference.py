"""docs/http-api.md is made from the OpenAPI document and must not drift from it."""

from __future__ import annotations

import re

from appliance.web.api.openapi import make_document
from appliance.web.api_reference import read_document, reference_lines
from appliance.web.app import create_app
from tests.fakes.web import make_context
from tests.machine import ROOT

PAGE = ROOT / "docs" / "http-api.md"


def test_the_page_is_current() -> None:
    made = "\n".join(reference_lines(read_document()))
    assert PAGE.read_text("utf-8") == made, "stale: python -m appliance.web.api_reference > docs/http-api.md"


def test_it_is_made_from_what_a_device_serves() -> None:
    assert read_document() == make_document(create_app(make_context()))


def test_it_has_every_route_and_every_model() -> None:
    document, text = read_document(), PAGE.read_text("utf-8")
    routes = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    assert sorted(re.findall(r"^### `(.+)`$", text, re.M)) == sorted(routes)
    assert re.findall(r"^### (\w+)$", text, re.M) == sorted(document["components"]["schemas"])


def test_a_route_has_its_policy_its_body_and_its_own_answers() -> None:
    text = PAGE.read_text("utf-8")
    route = text.partition("### `POST /api/session/start`\n")[2].partition("\n### ")[0]
    assert "- Policy: operator\n" in route
    assert "- Body: JSON, [StartRequest](#startrequest)\n" in route
    assert "- 200: " in route and "- 409: " in route
    assert "- 401: " not in route, "what every route may answer is described once"


def test_no_group_has_only_the_name_of_a_python_module() -> None:
    text = PAGE.read_text("utf-8")
    groups = re.findall(r"^## (.+)$", text, re.M)
    assert len(groups) == len(set(groups)) and all(group[0].isupper() for group in groups)
