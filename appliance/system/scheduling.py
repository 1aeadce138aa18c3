"""How long this process waited for a processor, by the kernel's counts.

`/proc/self/task/*/schedstat` has for each thread the nanoseconds that it ran and that it waited to run, and
how often it began to run (proc_pid_schedstat, sched-stats.rst). The kernel counts a wait when it ends, so the
wait of a thread that has not run at all is added here. Without the kernel's counts the delay is 0.
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
class SchedulingDelay:
    """Seconds spent waiting for a processor since the last call.

    `process_s`: the delay of the process: the longest wait of a thread, times the share of waiting in the
    time that all threads wanted to run. A thread that waits while holding a lock also delays sleeping
    threads, but a thread that is only occasionally late delays none. `by_thread`: the wait of each thread, by
    its kernel id.
    """

    process_s: float
    by_thread: dict[int, float]


@dataclass(frozen=True)
class _Task:
    ran_ns: int
    waited_ns: int
    turns: int
    ready: bool
    """Whether it runs or waits to run."""


class SchedulingMonitor:
    """Call `delay` at intervals, from one thread."""

    def __init__(self, tasks: Path = TASKS, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks, self._clock = tasks, clock
        self._before: dict[int, _Task] = {}
        self._looked = clock()

    def delay(self) -> SchedulingDelay:
        """The delay since the last call."""
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
        return SchedulingDelay(max(by_thread.values(), default=0.0) * share, by_thread)

    def _read(self) -> dict[int, _Task]:
        found = {}
        with contextlib.suppress(OSError):
            for name in os.listdir(self._tasks):
                with contextlib.suppress(OSError, ValueError):  # the thread may have ended
                    counts = (self._tasks / name / "schedstat").read_text(encoding="ascii").split()
                    # The state follows the name in parentheses, which may contain anything.
                    stat = (self._tasks / name / "stat").read_bytes().rpartition(b")")[2].split()
                    ran_ns, waited_ns, turns = map(int, counts[:3])
                    found[int(name)] = _Task(ran_ns, waited_ns, turns, stat[:1] == [b"R"])
        return found
