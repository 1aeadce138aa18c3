"""For how long this process was denied a processor that it wanted, as the kernel counts it.

`/proc/self/task/*/schedstat` has for each thread the nanoseconds that it ran and that it waited to run
(proc_pid_schedstat, sched-stats.rst). Where a kernel has none, nothing counts as denied.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TASKS = Path("/proc/self/task")


class Scheduling:
    """`denied_s` is asked at intervals. Belongs to one thread."""

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._before: dict[str, tuple[int, int]] = {}

    def denied_s(self) -> float:
        """Seconds since the last call for which the process was held up because others had the processors.

        The longest wait of a thread, times the share of waiting in all that was wanted: a thread that holds a
        lock and waits to run holds up those that sleep, but one that is late now and then holds up none.
        """
        now: dict[str, tuple[int, int]] = {}
        with contextlib.suppress(OSError):
            for task in os.listdir(self._tasks):
                with contextlib.suppress(OSError, ValueError):  # a thread may end meanwhile
                    ran, waited = (self._tasks / task / "schedstat").read_text(encoding="ascii").split()[:2]
                    now[task] = int(ran), int(waited)
        pairs = [(now[task], before) for task, before in self._before.items() if task in now]
        self._before = now
        ran_ns = sum(after[0] - before[0] for after, before in pairs)
        waits_ns = [after[1] - before[1] for after, before in pairs]
        wanted_ns = ran_ns + sum(waits_ns)
        return max(waits_ns) / 1e9 * sum(waits_ns) / wanted_ns if wanted_ns > 0 else 0.0
