"""The report as one HTML page that needs nothing else: no script, no other file, no other host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from appliance.commands.evaluate import text
from appliance.commands.evaluate.report import ExpressionReport, FaceReport, Mistake, Report
from appliance.values import EMOTIONS

_MOST_MISSES = 200


@dataclass(frozen=True)
class Shown:
    """A mistake with its small picture, a `data:` address, or None without one."""

    mistake: Mistake
    picture: str | None = None


def as_page(report: Report, shown: Sequence[Shown] = ()) -> str:
    """The page; `shown` are the mistakes of a report of expressions."""
    loader = jinja2.PackageLoader("appliance.commands.evaluate", "templates")
    # Names of files and classes come from outside: everything is escaped, and a misspelt name is an error.
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"spread": text.spread, "number": text.number, "width_name": text.width_name}
    name = "faces.html" if isinstance(report, FaceReport) else "expressions.html"
    return environment.get_template(name).render(
        report=report,
        figures=report.figures,
        names=EMOTIONS,
        coverage=text.coverage_words(report.pictures),
        same_people=text.SAME_PEOPLE,
        title=text.MODES[report.mode] if isinstance(report, ExpressionReport) else "faces in marked pictures",
        shown=shown,
        has_pictures=any(each.picture for each in shown),
        most_misses=_MOST_MISSES,
    )
