"""For how long this process was denied a processor that it wanted, as the kernel counts it.

`/proc/self/task/*/schedstat` has for each thread the nanoseconds that it ran and that it waited to run, and
how often it began to run (proc_pid_schedstat, sched-stats.rst). A wait is counted only once it ends, so that
of a thread which gets no turn at all is added here. Where a kernel counts nothing, nothing counts as denied.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Denied:
    """Seconds without a processor since the last look.

    `process_s`: for which the process was held up. The longest wait of a thread, times the share of waiting
    in all that was wanted: a thread that holds a lock and waits to run holds up those that sleep, but one
    that is late now and then holds up none. `by_thread`: how long each waited, by the kernel's number of it.
    """

    process_s: float
    by_thread: dict[int, float]


@dataclass(frozen=True)
class _Task:
    ran_ns: int
    waited_ns: int
    turns: int
    ready: bool
    """Runs, or waits to run."""


class Scheduling:
    """`denied` is asked at intervals. Belongs to one thread."""

    def __init__(self, tasks: Path = TASKS, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks, self._clock = tasks, clock
        self._before: dict[int, _Task] = {}
        self._looked = clock()

    def denied(self) -> Denied:
        """What was denied since the last call."""
        now = self._clock()
        elapsed_ns, self._looked = round((now - self._looked) * 1e9), now
        after: dict[int, _Task] = {}
        ran_ns, waits_ns = 0, {}
        for number, task in self._read().items():
            before = self._before.get(number)
            if before is None:
                after[number] = task
                continue
            ran_since = (task.ran_ns, task.turns) != (before.ran_ns, before.turns)
            no_turn = before.ready and task.ready and not ran_since
            # Never less than before: when a wait ends, the kernel counts what was already added here.
            waited_ns = max(task.waited_ns, before.waited_ns + (elapsed_ns if no_turn else 0))
            ran_ns += task.ran_ns - before.ran_ns
            waits_ns[number] = waited_ns - before.waited_ns
            after[number] = replace(task, waited_ns=waited_ns)
        self._before = after
        wanted_ns = ran_ns + sum(waits_ns.values())
        share = sum(waits_ns.values()) / wanted_ns if wanted_ns > 0 else 0.0
        by_thread = {number: wait_ns / 1e9 for number, wait_ns in waits_ns.items()}
        return Denied(max(by_thread.values(), default=0.0) * share, by_thread)

    def _read(self) -> dict[int, _Task]:
        found = {}
        with contextlib.suppress(OSError):
            for name in os.listdir(self._tasks):
                with contextlib.suppress(OSError, ValueError):  # a thread may end meanwhile
                    counts = (self._tasks / name / "schedstat").read_text(encoding="ascii").split()
                    # The state follows the name, which may hold anything, in parentheses.
                    stat = (self._tasks / name / "stat").read_bytes().rpartition(b")")[2].split()
                    ran_ns, waited_ns, turns = map(int, counts[:3])
                    found[int(name)] = _Task(ran_ns, waited_ns, turns, stat[:1] == [b"R"])
        return found
