"""The HTTP status of each error of the appliance."""

from __future__ import annotations

from appliance.errors import (
    AccessConflict,
    AccessError,
    Busy,
    PictureError,
    SlotClosed,
    StateConflict,
    StoreError,
    TooManyAttempts,
    TooManyViewers,
    UnknownName,
    UnsupportedPicture,
    WrongPassword,
)

STATUS: dict[type[Exception], int] = {
    AccessError: 400,
    WrongPassword: 403,
    UnknownName: 404,
    AccessConflict: 409,
    StateConflict: 409,
    UnsupportedPicture: 415,
    PictureError: 422,
    TooManyAttempts: 429,
    TooManyViewers: 503,
    Busy: 503,
    SlotClosed: 503,
    StoreError: 507,
}
"""Every other exception is a bug: 500."""
