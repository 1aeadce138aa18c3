"""The page about the models: what they are for, how good they are, and what was not measured."""

from __future__ import annotations

from flask import Blueprint, render_template
from markupsafe import Markup

from appliance import __version__
from appliance.system import last_update
from appliance.web.api.describe import HTML, describe
from appliance.web.context import context
from appliance.web.security.policy import VIEWER, policy

blueprint = Blueprint("about", __name__)


@blueprint.get("/about")
@policy(VIEWER)
@describe({200: HTML})
def about_page() -> str:
    """The model card of the models in use."""
    device = context().device
    last = last_update.read_last_update(device.state_dir)
    return render_template(
        "about.html",
        version=__version__,
        updated=last.summary() if last else "never",
        engine=device.engines(),
        card=_as_html(device.model_card),
    )


def _as_html(card: str) -> Markup:
    from markdown_it import MarkdownIt  # slow to load, and needed only for this page

    # "js-default" shows HTML in the card as text, so that an owner's card cannot add scripts.
    return Markup(MarkdownIt("js-default").render(card))
