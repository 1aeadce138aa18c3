"""A recorded session as the content of a file: the same from the page, the person's link and the shell."""

from __future__ import annotations

import json

from appliance.report import as_csv, as_json
from appliance.store import Session

KINDS = ("csv", "json", "pdf")
"""What a session can be exported as."""


def exported(session: Session, kind: str) -> bytes:
    """A session as one of `KINDS`."""
    if kind == "csv":
        return as_csv(session).encode()
    if kind == "json":
        return json.dumps(as_json(session), indent=2, ensure_ascii=False).encode() + b"\n"
    from appliance.report_pdf import as_pdf  # heavy, and few ask for it

    return as_pdf(session)
