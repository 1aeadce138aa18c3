"""SIGTERM and SIGINT as an event; each test in its own process, since it may hang or end immediately."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def child(code: str) -> subprocess.Popen[str]:
    """Python that uses `stop_on_signals` and prints when it is ready."""
    head = "import os, signal, sys, threading, time\nfrom appliance.system.signals import stop_on_signals\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str], limit_s: float = 10.0) -> tuple[int, str]:
    """Exit code and standard error."""
    try:
        _, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, errors


@BOTH
def test_a_signal_is_an_event(number: signal.Signals) -> None:
    process = child("""
with stop_on_signals() as stop:
    print("ready", flush=True)
    sys.exit(0 if stop.wait(10) else 3)
""")
    process.send_signal(number)
    assert ended(process) == (0, "")


def test_a_signal_while_the_event_is_locked_causes_no_deadlock() -> None:
    process = child("""
with stop_on_signals() as stop:
    print("ready", flush=True)
    with stop._cond:  # as inside wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
    sys.exit(0 if stop.wait(5) else 3)
""")
    assert ended(process) == (0, "")


def test_signals_at_any_time_cause_no_deadlock() -> None:
    processes = [
        child("""
with stop_on_signals() as stop:
    print("ready", flush=True)
    while not stop.wait(0.00001):
        pass
""")
        for _ in range(10)
    ]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [ended(process) for process in processes] == [(0, "")] * 10


@BOTH
@pytest.mark.parametrize(
    "busy", ["time.sleep(60)", "threading.Lock().acquire() and threading.Event().wait()"]
)
def test_a_second_signal_ends_it_immediately(number: signal.Signals, busy: str) -> None:
    process = child(f"""
with stop_on_signals() as stop:
    threading.Thread(target=lambda: (stop.wait(), print("stopping", flush=True)), daemon=True).start()
    print("ready", flush=True)
    {busy}
""")
    process.send_signal(number)
    assert process.stdout is not None and process.stdout.readline() == "stopping\n"
    began = time.monotonic()
    process.send_signal(number)
    assert ended(process)[0] == 1
    assert time.monotonic() - began < 5.0


def test_afterwards_everything_is_restored() -> None:
    process = child("""
before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
with stop_on_signals():
    pass
assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
assert threading.active_count() == 1
assert signal.set_wakeup_fd(-1) == -1
print("ready", flush=True)
""")
    assert ended(process) == (0, "")


def test_a_stop_that_hangs_ends_the_process() -> None:
    process = child("""
import appliance.system.signals
appliance.system.signals.LONGEST_STOP_S = 0.5
with stop_on_signals() as stop:
    print("ready", flush=True)
    stop.set()
    time.sleep(60)
""")
    code, errors = ended(process)
    assert (
        code == 1 and errors == "ERROR appliance.system.signals: the stop takes too long: the process exits\n"
    )
