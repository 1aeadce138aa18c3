"""The check for memory and threads, in a separate process that reaches its limit."""

from __future__ import annotations

import os
import subprocess
import sys

from appliance.system.self_check import SelfCheck


def child(code: str) -> subprocess.CompletedProcess[str]:
    head = (
        "import os, resource, threading, time, _thread\nfrom appliance.system.self_check import *\n"
        "check = SelfCheck()\n"
        "assert check.passes()\n"
        "while len(os.listdir('/proc/self/task')) > 1: time.sleep(0.01)\n"  # its thread counts in `used`
        "used = 4096 * int(open('/proc/self/statm').read().split()[0])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", head + code],
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # as in the unit
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_below_its_limits_passes() -> None:
    check = SelfCheck()
    assert [check.passes() for _ in range(3)] == [True] * 3
    assert check.failures == 0


def test_without_memory_it_fails_until_memory_is_free_again() -> None:
    done = child("""
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used, hard))
print([check.passes() for _ in range(3)], check.failures)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print(check.passes(), check.failures)
""")
    assert done.stdout == "[False, False, False] 3\nTrue 0\n", done.stderr


def test_without_threads_it_fails() -> None:
    done = child("""
def refuse(*words):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
print(check.passes())
""")
    assert done.stdout == "False\n", done.stderr


def test_exiting_prints_one_line_and_returns_1() -> None:
    done = child("exit_unable()")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "no memory" in done.stderr
