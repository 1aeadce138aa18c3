"""Addresses of the device for phones of other people."""

from __future__ import annotations

import socket

import pytest

from appliance.web.addresses import device_url, qr_code
from appliance.web.app import create_app
from tests.fakes.web import make_context

OWN = f"{socket.gethostname().partition('.')[0].lower()}.local"


@pytest.mark.parametrize(
    ("is_open", "host", "address"),
    [
        (False, "127.0.0.1:8080", "http://127.0.0.1:8080/mine/x"),
        (False, "localhost", "http://localhost/mine/x"),
        (True, "127.0.0.1:8080", f"http://{OWN}:8080/mine/x"),
        (True, "[::1]:8080", f"http://{OWN}:8080/mine/x"),
        (True, "localhost", f"http://{OWN}/mine/x"),
        (True, "grader.example:8080", "http://grader.example:8080/mine/x"),
        (True, "192.0.2.9", "http://192.0.2.9/mine/x"),
    ],
)
def test_other_devices_get_the_device_name_instead_of_loopback(
    is_open: bool, host: str, address: str
) -> None:
    app = create_app(make_context(open_to_network=is_open))
    with app.test_request_context("/", base_url=f"http://{host}"):
        assert device_url("/mine/x") == address


def test_the_qr_code_is_a_data_uri() -> None:
    code = qr_code("https://grader.local/mine/AAAAAAAAAAAAAAAAAAAAAA")
    assert code.startswith("data:image/svg+xml")
    assert "script" not in code
