"""The terms of a consent: region, purpose and institution, the law's ruling on them, the notice in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.consent.law import Ruling, ruling_for
from appliance.consent.notice import Notice, NoticeText
from appliance.errors import StateConflict


@dataclass(frozen=True)
class _Jurisdiction:
    region: str
    purpose: str
    institution: str
    ruling: Ruling
    notice: Notice


def is_for_hiring(version: str) -> bool:
    """Whether the notice with this version carried the paragraphs about hiring."""
    return "hiring" in version.split("-")


class Terms:
    """Region, purpose and, in the EU, institution, set once; until then `refusal` gives the reason.

    All methods may be called from any thread.
    """

    def __init__(
        self,
        text: NoticeText,
        *,
        keep_days: int,
        region: str = "",
        purpose: str = "",
        institution: str = "",
        fixed_by: str = "",
        keep: Callable[[str, str, str], None] = lambda region, purpose, institution: None,
    ) -> None:
        """`fixed_by`: the file or other source that sets any of the three; the page may not change them then.

        `keep` saves them for the next start.
        """
        self._text, self._keep_days = text, keep_days
        self._fixed_by, self._keep = fixed_by, keep
        self._in_force = self._apply(region, purpose, institution)

    @property
    def region(self) -> str:
        """A region of `law.REGIONS`, "" while unset."""
        return self._in_force.region

    @property
    def purpose(self) -> str:
        """A purpose of `law.PURPOSES`, "" while unset."""
        return self._in_force.purpose

    @property
    def institution(self) -> str:
        """An institution of `law.INSTITUTIONS`, "" while unset."""
        return self._in_force.institution

    @property
    def is_complete(self) -> bool:
        """Whether every answer that the law of the region requires is set."""
        return not self._in_force.ruling.is_incomplete

    @property
    def fixed_by(self) -> str:
        """The source outside the page that sets them, "" if the page may."""
        return self._fixed_by

    @property
    def notice(self) -> Notice:
        """The notice in force."""
        return self._in_force.notice

    @property
    def refusal(self) -> str:
        """Why no living person may be analysed, "" if analysis is allowed."""
        return self._in_force.ruling.refusal

    def refuse_unlawful(self) -> None:
        """Raises `StateConflict` while no living person may be analysed."""
        if self.refusal:
            raise StateConflict(self.refusal)

    def require_current(self, version: str) -> Notice:
        """The notice in force; raises `StateConflict` if people read another version."""
        notice = self.notice
        if version != notice.version:
            raise StateConflict(
                f"notice version {version!r}: expected {notice.version!r}; "
                "reload the page and read the notice in force"
            )
        return notice

    def refuse_if_fixed(self) -> None:
        """Raises `StateConflict` if another source sets one of them, which would take precedence."""
        if self._fixed_by:
            raise StateConflict(f"region, purpose or institution is set in {self._fixed_by}; change it there")

    def set_jurisdiction(self, region: str, purpose: str, institution: str = "") -> None:
        """Set and keep all three; raises `StateConflict` if another source sets one of them."""
        self.refuse_if_fixed()
        self._keep(region, purpose, institution)
        self._in_force = self._apply(region, purpose, institution)

    def _apply(self, region: str, purpose: str, institution: str) -> _Jurisdiction:
        ruling = ruling_for(region, purpose, institution)
        notice = self._text.fill(self._keep_days, ruling.paragraphs, ruling.mark, ruling.summary)
        return _Jurisdiction(region, purpose, institution, ruling, notice)
