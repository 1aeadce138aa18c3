"""A board that is too hot: the state and the metrics report it until it has cooled down."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.daemon.driver import running, until
from tests.e2e.daemon.driver_doubles import BOARD

DOUBLES = "tests.e2e.daemon.driver_doubles"


def test_a_hot_board_is_reported_until_it_has_cooled_down(tmp_path: Path) -> None:
    cooling = tmp_path / "sys/class/thermal/cooling_device0"
    cooling.mkdir(parents=True)
    (cooling / "type").write_text("cpufreq-cpu0\n")
    (cooling / "cur_state").write_text("0\n")
    here = {BOARD: str(tmp_path / "sys")}
    with running(tmp_path / "d", "--camera", "demo", module=DOUBLES, environment=here) as daemon:
        assert daemon.state()["board"] == {"strain": None}
        (cooling / "cur_state").write_text("2\n")
        until(lambda: "too hot" in (daemon.state()["board"]["strain"] or ""), 20, "the strain")
        assert daemon.metrics()["interview_grader_board_strained"] == 1
        assert daemon.state()["state"] == "live", "analysis continues"
        (cooling / "cur_state").write_text("0\n")
        until(lambda: daemon.state()["board"]["strain"] is None, 20, "the end of it")
        assert daemon.metrics()["interview_grader_board_strained"] == 0
        assert daemon.log_lines("WARNING", "the board runs slower") and daemon.log_lines("full speed again")
