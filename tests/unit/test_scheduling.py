"""How long a process was denied a processor: from files, and from the kernel itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.scheduling import Scheduling


def write(tasks: Path, **seconds: tuple[float, float]) -> None:
    for task, (ran, waited) in seconds.items():
        (tasks / task).mkdir(exist_ok=True)
        (tasks / task / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 7\n")


@pytest.mark.parametrize(
    ("ran", "waited", "idle_waits", "denied"),
    [
        (0.01, 0.99, 0.0, 0.98),  # starved
        (0.5, 0.5, 0.0, 0.25),
        (1.0, 0.0, 0.0, 0.0),  # computes
        (0.0, 0.0, 0.0, 0.0),  # hangs in a call
        (0.0, 0.0, 0.06, 0.036),  # hangs; others of it are late now and then
    ],
)
def test_what_counts_as_denied(
    tmp_path: Path, ran: float, waited: float, idle_waits: float, denied: float
) -> None:
    scheduling = Scheduling(tmp_path)
    write(tmp_path, a=(5.0, 3.0), b=(1.0, 1.0))
    assert scheduling.denied_s() == 0.0, "what was before the first look"
    idle_runs = idle_waits * 2 / 3
    write(tmp_path, a=(5.0 + ran, 3.0 + waited), b=(1.0 + idle_runs, 1.0 + idle_waits))
    assert scheduling.denied_s() == pytest.approx(denied, abs=0.011)


def test_threads_come_and_go(tmp_path: Path) -> None:
    scheduling = Scheduling(tmp_path)
    write(tmp_path, a=(1.0, 1.0))
    scheduling.denied_s()
    (tmp_path / "a/schedstat").unlink()
    write(tmp_path, b=(9.0, 9.0))
    assert scheduling.denied_s() == 0.0


def test_a_kernel_that_counts_nothing_denies_nothing(tmp_path: Path) -> None:
    assert [Scheduling(tmp_path / "none").denied_s() for _ in range(2)] == [0.0, 0.0]


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel counts no waiting")
def test_a_process_beside_others_on_one_processor_is_denied_it() -> None:
    processor = str(min(os.sched_getaffinity(0)))
    spin = "import os, time\nos.sched_setaffinity(0, {" + processor + "})\nend = time.monotonic() + "
    rivals = [
        subprocess.Popen([sys.executable, "-c", f"{spin} 5\nwhile time.monotonic() < end: pass"])
        for _ in range(2)
    ]
    measure = (
        f"from appliance.scheduling import Scheduling\n{spin} 2\nos.nice(19)\n"
        "scheduling = Scheduling(); scheduling.denied_s()\n"
        "while time.monotonic() < end: pass\nprint(scheduling.denied_s())"
    )
    try:
        done = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
    assert float(done.stdout) > 1.0, "of two seconds"
