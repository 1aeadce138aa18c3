"""The skip list: what is allowed passes, everything else fails the run, in words that say why."""

from __future__ import annotations

import pytest

from tests import machine, skipcheck

LISTING = """
[[skip]]
match = "test_sample.py::test_camera[[]usb]"
reason = "no camera"
where = "far-from-cameras"

[[skip]]
match = "test_sample.py::*"
reason = "^needs two things$"
where = ["far-from-cameras", "on-the-moon"]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    conditions = {"far-from-cameras": lambda: True, "on-the-moon": lambda: False}
    monkeypatch.setattr(skipcheck, "CONDITIONS", conditions)
    pytester.makeini("[pytest]\nskips = skips.toml\n")

    def run(source: str, listing: str = LISTING) -> pytest.RunResult:
        pytester.path.joinpath("skips.toml").write_text(listing)
        pytester.makepyfile(test_sample=source)
        return pytester.runpytest("-p", "tests.skipcheck", "-ra")

    return run


def test_a_listed_skip_whose_condition_holds_stays_a_skip(run):
    result = run("""
        import pytest
        @pytest.mark.parametrize("backend", ["usb"])
        def test_camera(backend):
            pytest.skip("no camera at /dev/video0")
    """)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_listed_skip_whose_condition_does_not_hold_fails(run):
    result = run("""
        import pytest
        def test_orbit():
            pytest.skip("needs two things")
    """)
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*test_orbit: skipped (needs two things), which skips.toml allows only where on-the-moon*"]
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "import pytest\n@pytest.mark.skip(reason='another day')\ndef test_it(): pass",
            "*test_it: skipped (another day), which is not listed in skips.toml*",
        ),
        (
            "import pytest\n@pytest.mark.xfail(reason='known fault')\ndef test_it(): assert False",
            "*test_it: skipped (expected to fail: known fault), which is not listed*",
        ),
        (
            "import pytest\ndef test_it(): pytest.xfail('known fault')",
            "*test_it: skipped (expected to fail: known fault), which is not listed*",
        ),
        (
            "import pytest\npytest.importorskip('a_module_that_is_missing')\ndef test_it(): pass",
            "*test_sample.py: skipped (could not import 'a_module_that_is_missing'*), which is not listed*",
        ),
        (
            "import unittest\nclass TestIt(unittest.TestCase):\n"
            "    @unittest.skip('later')\n    def test_it(self): pass",
            "*test_it: skipped (later), which is not listed*",
        ),
    ],
    ids=["mark", "xfail-mark", "xfail-call", "module", "unittest"],
)
def test_a_skip_that_is_not_listed_fails_however_it_was_made(run, source, line):
    result = run(source)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines([line])


def test_a_skip_in_a_fixture_is_judged_by_the_test_that_asked_for_it(run):
    result = run("""
        import pytest
        @pytest.fixture
        def lamp():
            pytest.skip("no lamp")
        def test_it(lamp): pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it: skipped (no lamp), which is not listed*"])


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ('[[skip]]\nmatch = "*"\nreason = "x"\nwhere = "on-mars"\n', "unknown condition on-mars"),
        ('[[skip]]\nmatch = "*"\nreason = "x"\n', "exactly match, reason and where"),
        ('[[skip]]\nmatch = "*"\nreason = "x"\nwhere = []\n', "exactly match, reason and where"),
        ("[[skip\n", "skips.toml"),
    ],
    ids=["unknown-condition", "no-condition", "empty-condition", "broken"],
)
def test_a_list_that_cannot_be_meant_is_refused(run, listing, words):
    result = run("def test_it(): pass", listing)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}*"])


@pytest.mark.parametrize("name", machine.CONDITIONS)
def test_every_condition_can_be_evaluated_on_this_machine(name):
    assert machine.CONDITIONS[name]() in (True, False)


@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_that_survives_its_test_fails_it(pytester, monkeypatch, daemon):
    monkeypatch.setattr("tests.conftest.GRACE_S", 0.2)
    pytester.makepyfile(f"""
        import threading
        release = threading.Event()
        def test_leaks():
            threading.Thread(target=release.wait, args=(20,), name="capture", daemon={daemon}).start()
        def test_next():
            release.set()
    """)
    result = pytester.runpytest("-p", "tests.conftest")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*threads alive 0.2 s after the test: capture*"])
