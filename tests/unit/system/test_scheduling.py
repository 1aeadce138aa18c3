"""How long a process waited for a processor: from given files, and from the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.system.scheduling import SchedulingMonitor
from tests.fakes.clock import Clock


def write(tasks: Path, state: str = "S", **seconds: tuple[float, float]) -> None:
    """The kernel's counts by thread, named as in `_1`: seconds that each ran and waited."""
    for name, (ran, waited) in seconds.items():
        task = tasks / name.strip("_")
        task.mkdir(exist_ok=True)
        (task / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 7\n")
        (task / "stat").write_text(f"{task.name} (a) b (c) {state} 1 1 0\n")


@pytest.mark.parametrize(
    ("ran", "waited", "idle_waits", "denied"),
    [
        (0.01, 0.99, 0.0, 0.98),  # starved
        (0.5, 0.5, 0.0, 0.25),
        (1.0, 0.0, 0.0, 0.0),  # computes
        (0.0, 0.0, 0.0, 0.0),  # hangs in a call
        (0.0, 0.0, 0.06, 0.036),  # hangs; other threads are occasionally late
    ],
)
def test_what_counts_as_waiting(
    tmp_path: Path, ran: float, waited: float, idle_waits: float, denied: float
) -> None:
    scheduling = SchedulingMonitor(tmp_path)
    write(tmp_path, _1=(5.0, 3.0), _2=(1.0, 1.0))
    assert scheduling.delay().process_s == 0.0, "time before the first call"
    idle_runs = idle_waits * 2 / 3
    write(tmp_path, _1=(5.0 + ran, 3.0 + waited), _2=(1.0 + idle_runs, 1.0 + idle_waits))
    found = scheduling.delay()
    assert found.process_s == pytest.approx(denied, abs=0.011)
    assert found.by_thread == pytest.approx({1: waited, 2: idle_waits})


def test_the_wait_of_a_thread_that_never_runs_is_added_before_the_kernel_counts_it(
    tmp_path: Path,
) -> None:
    """The kernel adds a wait to its count only once it ends."""
    clock = Clock()
    scheduling = SchedulingMonitor(tmp_path, clock)
    write(tmp_path, "R", _1=(5.0, 3.0))
    scheduling.delay()
    for _ in range(4):
        clock.now += 1.5
        assert scheduling.delay().by_thread == {1: pytest.approx(1.5)}
    write(tmp_path, "R", _1=(5.1, 9.3))
    clock.now += 0.4
    assert scheduling.delay().by_thread == {1: pytest.approx(0.3)}, "only what was not reported before"
    write(tmp_path, "R", _1=(5.5, 9.3))
    clock.now += 0.4
    assert scheduling.delay().by_thread == {1: 0.0}, "it computes"
    for _ in range(2):
        write(tmp_path, "S", _1=(5.5, 9.3))
        clock.now += 1.5
        assert scheduling.delay().by_thread == {1: 0.0}, "it hangs in a call"
    write(tmp_path, "S", _1=(5.5, 8.0))
    assert scheduling.delay().by_thread == {1: 0.0}, "a reported wait is never subtracted"


def test_threads_come_and_go(tmp_path: Path) -> None:
    scheduling = SchedulingMonitor(tmp_path)
    write(tmp_path, _1=(1.0, 1.0))
    scheduling.delay()
    (tmp_path / "1/schedstat").unlink()
    write(tmp_path, _2=(9.0, 9.0))
    assert (scheduling.delay().process_s, scheduling.delay().by_thread) == (0.0, {2: 0.0})


def test_without_the_kernels_counts_the_delay_is_zero(tmp_path: Path) -> None:
    scheduling = SchedulingMonitor(tmp_path / "none")
    assert [scheduling.delay().process_s for _ in range(2)] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel counts no waiting")
def test_a_process_that_shares_one_processor_is_delayed() -> None:
    processor = {min(os.sched_getaffinity(0))}
    rivals = [
        subprocess.Popen(["sh", "-c", "echo; while :; do :; done"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    measure = (
        "import os, time\nfrom appliance.system.scheduling import SchedulingMonitor\n"
        f"os.sched_setaffinity(0, {processor})\n"
        "scheduling = SchedulingMonitor(); scheduling.delay(); end = time.monotonic() + 2\n"
        "while time.monotonic() < end: pass\nprint(scheduling.delay().process_s)"
    )
    # No lower priority for the measuring process, which would then take minutes next to a busy suite.
    try:
        for rival in rivals:
            assert rival.stdout and rival.stdout.readline()  # it runs, and continues
            os.sched_setaffinity(rival.pid, processor)
        done = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()
    assert float(done.stdout) > 1.0, "of two seconds"
