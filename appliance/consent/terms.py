"""On what terms people agree: region, purpose, institution, what follows from them, the notice in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.consent.law import Ruling, ruling
from appliance.consent.notice import Notice, NoticeText
from appliance.errors import StateConflict


@dataclass(frozen=True)
class _Settled:
    region: str
    purpose: str
    institution: str
    ruling: Ruling
    notice: Notice


def is_for_hiring(version: str) -> bool:
    """Whether the notice that people agreed to, by its version, carried the points for hiring."""
    return "hiring" in version.split("-")


class Terms:
    """Region, purpose and, in the EU, institution are settled once.

    Until then `refusal` says why nothing may start.

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
        """`fixed_by`: where others than the page set any of the three; then the page may not change them.

        `keep` writes them down for the next start.
        """
        self._text, self._keep_days = text, keep_days
        self._fixed_by, self._keep = fixed_by, keep
        self._settled = self._settle(region, purpose, institution)

    @property
    def region(self) -> str:
        """A region of `lawful.REGIONS`, "" while unset."""
        return self._settled.region

    @property
    def purpose(self) -> str:
        """A purpose of `lawful.PURPOSES`, "" while unset."""
        return self._settled.purpose

    @property
    def institution(self) -> str:
        """An institution of `lawful.INSTITUTIONS`, "" while unset."""
        return self._settled.institution

    @property
    def settled(self) -> bool:
        """Whether everything was said that the law of the region asks."""
        return not self._settled.ruling.asks

    @property
    def fixed_by(self) -> str:
        """The place outside the page that sets them, "" when the page may."""
        return self._fixed_by

    @property
    def notice(self) -> Notice:
        """The notice in force."""
        return self._settled.notice

    @property
    def refusal(self) -> str:
        """Why nobody living may be analysed, "" when they may."""
        return self._settled.ruling.refusal

    def read(self, version: str) -> Notice:
        """The notice in force, which somebody says to have read; `StateConflict` if they read another one."""
        notice = self.notice
        if version != notice.version:
            raise StateConflict(
                f"notice version {version!r}: expected {notice.version!r}; "
                "reload the page and read the notice that is in force now"
            )
        return notice

    def refuse_if_fixed(self) -> None:
        """Raises `StateConflict` where one of them is set in another place, which would win."""
        if self._fixed_by:
            raise StateConflict(
                f"region, purpose or institution are set in {self._fixed_by}; change them there"
            )

    def settle(self, region: str, purpose: str, institution: str = "") -> None:
        """Set all and keep them; `StateConflict` where one is set in another place, which would win."""
        self.refuse_if_fixed()
        self._keep(region, purpose, institution)
        self._settled = self._settle(region, purpose, institution)

    def _settle(self, region: str, purpose: str, institution: str) -> _Settled:
        follows = ruling(region, purpose, institution)
        notice = self._text.filled(self._keep_days, follows.paragraphs, follows.mark)
        return _Settled(region, purpose, institution, follows, notice)
