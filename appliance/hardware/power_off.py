"""Switches the device off through logind, which asks polkit for permission.

systemd/interview-grader.polkit grants it to the service's user.
Interface: org.freedesktop.login1(5), `PowerOff`.
"""

from __future__ import annotations

import subprocess

from appliance.errors import PowerError

_ANSWER_S = 20.0

_CALL = (
    *("busctl", "--system", "call"),
    *("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"),
    *("PowerOff", "b", "false"),  # false: no one can enter a password
)


def power_off() -> None:
    """Shut down and switch off; raises `PowerError` where that is not permitted."""
    try:
        done = subprocess.run(_CALL, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PowerError(f"the device cannot be switched off: {error}") from error
    if done.returncode:
        raise PowerError(
            f"logind does not switch the device off: {done.stderr.strip() or done.returncode}; it needs the "
            "rule /etc/polkit-1/rules.d/50-interview-grader.rules, and polkitd must be installed"
        )
