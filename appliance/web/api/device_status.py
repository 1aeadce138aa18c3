"""The status of a device as one JSON document for programs: `interview-grader status --json`, `/api/status`.

docs/operations.md describes every key for owners.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from appliance.web.api.models import Answer, Storage

HEALTHY = ("ok", "idle")
"""The values of `health.status` that mean no fault."""


class DeviceHealth(Answer):
    """The body of `/healthz`, or `down` or `unknown` when the daemon did not answer."""

    status: Literal["ok", "idle", "starting", "failing", "down", "unknown"]
    reason: str | None = None


class DeviceStatus(Answer):
    """The status of the device. Null: unknown, or not for this user."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    running: bool | None = Field(description="Whether the daemon answers; null: it was not asked")
    health: DeviceHealth
    state: Literal["idle", "aiming", "live", "recording", "paused"] | None = Field(
        default=None, description="State of the session"
    )
    live: bool | None = Field(
        default=None,
        description="Whether people are in front of the open camera, so a restart would end a session",
    )
    storage: Storage | None = None
    address: str | None = Field(default=None, description="Address of the page, as a browser opens it")
    version: str | None = Field(default=None, description="Release of the running daemon")
    engine: str | None = Field(
        default=None, description="What runs the models, and why if it was not configured"
    )
    lamps: bool | None = Field(default=None, description="Whether the device has lamps")
    certificate_sha256: str | None = Field(
        default=None, description="Fingerprint of the certificate in use, as browsers show it"
    )
    first_code: str | None = Field(
        default=None, description="Sets the operator's password; null once there is one"
    )
