"""Region and purpose are set once, take effect at once, and are kept for the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.composition.terms import make_terms as terms_of
from appliance.configuration import layers
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.configuration.page_file import PageFile
from appliance.consent.notice import KEEP_DAYS, read_notice
from appliance.consent.terms import Terms
from appliance.errors import StateConflict, StoreError
from appliance.system.toml import read_toml
from tests.fakes.consent import make_terms


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")


def test_an_unset_jurisdiction_refuses_and_setting_it_takes_effect_at_once() -> None:
    kept: list[tuple[str, ...]] = []
    terms = make_terms(region="", purpose="", keep=lambda *answers: kept.append(answers))
    assert terms.refusal and not terms.is_complete
    terms.set_jurisdiction("EU", "hiring")
    assert "Article 5(1)(f)" in terms.refusal
    terms.set_jurisdiction("US", "hiring")
    assert (terms.refusal, terms.notice.version) == ("", "1-us2-hiring")
    assert "820 ILCS 42" in " ".join(each.text for each in terms.notice.paragraphs)
    assert kept == [("EU", "hiring", ""), ("US", "hiring", "")]


def test_the_short_form_of_the_notice_has_the_limits_of_the_law() -> None:
    def summary(region: str, purpose: str) -> str:
        terms = Terms(read_notice(), keep_days=KEEP_DAYS)
        terms.set_jurisdiction(region, purpose, "none" if region == "EU" else "")
        return terms.notice.summary

    assert "The results belong to you" in summary("EU", "practice")
    assert "you and your coach" in summary("EU", "coaching")
    assert "You volunteer" in summary("EU", "research")
    assert "no decision may be based on it" in summary("US", "hiring")
    assert summary("US", "practice") == read_notice().fill(KEEP_DAYS).summary


def test_only_the_eu_asks_for_the_institution() -> None:
    for region, settled in (("EU", False), ("US", True), ("other", True)):
        terms = make_terms(region=region, purpose="practice")
        assert (terms.is_complete, terms.refusal == "") == (settled, settled), (
            "set before the institution was needed"
        )
    assert make_terms(region="EU", purpose="hiring").is_complete, "hiring is refused with any institution"
    terms = make_terms(region="EU", purpose="practice")
    terms.set_jurisdiction("EU", "practice", "none")
    assert (terms.is_complete, terms.refusal, terms.institution) == (True, "", "none")
    assert terms.notice.version == "1-eu3-practice"
    terms.set_jurisdiction("EU", "practice", "school")
    assert terms.is_complete and "Article 5(1)(f)" in terms.refusal


def test_the_page_may_not_change_what_is_set_elsewhere() -> None:
    terms = make_terms(region="EU", purpose="practice", fixed_by="/etc/x.toml")
    with pytest.raises(StateConflict, match=r"/etc/x\.toml"):
        terms.set_jurisdiction("US", "hiring")
    assert terms.region == "EU"


def test_the_page_file_is_read_at_the_next_start(tmp_path: Path) -> None:
    def terms(*more: str) -> object:
        return terms_of(load_config(ConfigOptions(data_dir=tmp_path, settings=more), {}))

    first = terms()
    first.set_jurisdiction("US", "research")  # type: ignore[attr-defined]
    again = terms()
    assert (again.region, again.purpose, again.fixed_by) == ("US", "research", "")  # type: ignore[attr-defined]
    for setting in ("lawful.region=EU", "lawful.institution=school"):
        assert terms(setting).fixed_by == "command line"  # type: ignore[attr-defined]


def test_the_institution_is_kept_for_the_next_start_and_cleared_with_the_region(tmp_path: Path) -> None:
    def terms() -> Terms:
        return terms_of(load_config(ConfigOptions(data_dir=tmp_path), {}))

    terms().set_jurisdiction("EU", "practice", "none")
    assert (terms().institution, terms().refusal) == ("none", "")
    terms().set_jurisdiction("US", "practice")
    assert (terms().institution, terms().is_complete) == ("", True)


def test_other_settings_of_the_page_stay(tmp_path: Path) -> None:
    page = PageFile(tmp_path / "state")
    page.path.parent.mkdir()
    page.path.write_text("[web]\nmax_viewers = 3\n")
    page.save("lawful", {"region": "EU"})
    page.save("lawful", {"purpose": "practice"})
    assert read_toml(page.path) == {
        "web": {"max_viewers": 3},
        "lawful": {"region": "EU", "purpose": "practice"},
    }
    assert [each.name for each in page.path.parent.iterdir()] == ["page.toml"]


def test_the_page_file_refuses_keys_that_are_not_on_its_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"may not set engine\.library"):
        PageFile(tmp_path).save("engine", {"library": "/srv/evil.so"})
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_page_file_stays_unchanged(tmp_path: Path) -> None:
    page = PageFile(tmp_path)
    page.path.write_text("lawful = [")
    with pytest.raises(StoreError, match="TOML"):
        page.save("lawful", {"region": "EU"})
    assert page.path.read_text() == "lawful = ["


def test_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        PageFile(tmp_path / "file").save("lawful", {"region": "EU"})
