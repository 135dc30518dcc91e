"""What a pre-flight found: errors, warnings and notes apart, how long the rows are, and what a run comes to.

``draw`` and ``connect`` make the whole panel: a button that checks the recipe which the page describes, the
findings, and the rows token by token. ``preflight_view`` alone is the findings as markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components import token_browser
from pages.components.length_chart import length_chart
from pages.components.markup import chip, error_note, facts, note, progress_bar
from pages.components.recipe_form import described
from pages.components.token_browser import TokenBrowser
from pages.components.token_view import SIDES
from pages.components.visible import HIDDEN
from pages.components.visits import block
from pages.components.wiring import listen
from pages.components.wording import count
from studio.core import StudioError
from studio.datasets import Split
from studio.studio import Studio
from studio.training import Stage, parse_recipe
from studio.training.preflight import Finding, Preflight, PreflightState, Severity, SourceFacts
from studio.training.recipes import recipe_text

_LOOKS = {
    Severity.ERROR: ("error", "errors", "td-bad"),
    Severity.WARNING: ("warning", "warnings", "td-busy"),
    Severity.NOTE: ("note", "notes", "td-idle"),
}


@dataclass(frozen=True)
class PreflightPanel:
    """Its components; ``held`` holds the id of what is shown, ``waiting`` whether the check goes on."""

    button: Any
    view: Any
    held: Any
    waiting: Any
    browser: TokenBrowser

    @property
    def outputs(self) -> list[Any]:
        """What each look at a pre-flight fills."""
        return [self.held, self.waiting, self.view, *self.browser.outputs]


def draw() -> PreflightPanel:
    """Make the components: the button, the findings below it, and the browser of rows."""
    button = gr.Button("Check before training", size="lg", elem_classes="td-own-width")
    view = block()
    return PreflightPanel(button, view, gr.State(""), gr.State(False), token_browser.draw())


def connect(panel: PreflightPanel, studio: Studio, whole: Mapping[str, Any], tick: Any) -> None:
    """Wire the panel.

    Args:
        panel: What ``draw`` made.
        studio: What the handlers work on.
        whole: The components that ``recipe_form.described`` takes, by keyword.
        tick: The page's tick event; a check that goes on is looked at again.
    """
    listen(
        panel.button.click,
        check,
        studio,
        api_name="preflight_check",
        inputs=whole,
        outputs=panel.outputs,
    )
    asked = {"held": panel.held, "waiting": panel.waiting}
    listen(
        tick,
        look_again,
        studio,
        api_name="preflight_tick",
        inputs=asked,
        outputs=panel.outputs,
        quiet=True,
    )
    token_browser.connect(panel.browser, studio, panel.held)


def check(studio: Studio, **given: Any) -> tuple[Any, ...]:
    """Check the recipe that the page describes."""
    try:
        recipe = described(**given)
        # Without what nobody chose: findings tell the two apart.
        text = recipe_text(recipe.model_dump(mode="json", exclude_unset=True))
        devices = tuple(int(one) for one in given.get("devices") or ())
        found = studio.preflight.check(studio.actor, Stage(given["stage"]), text, devices)
    except StudioError as error:
        return "", False, error_note(error), *_closed()
    return _shown(studio, found)


def look_again(studio: Studio, *, held: str, waiting: bool) -> Any:
    """A check that goes on, as it stands now; nothing where none does."""
    if not held or not waiting:
        return tuple(gr.skip() for _ in range(13))
    try:
        return _shown(studio, studio.preflight.get(studio.actor, held))
    except StudioError as error:
        return "", False, error_note(error), *_closed()


def _shown(studio: Studio, found: Preflight) -> tuple[Any, ...]:
    waiting = found.state is PreflightState.PENDING
    return found.id, waiting, preflight_view(found), *token_browser.opened(studio, found)


def _closed() -> tuple[Any, ...]:
    return (gr.update(visible=HIDDEN), *(gr.skip() for _ in range(9)))


def preflight_view(found: Preflight) -> Markup:
    """Everything a pre-flight found."""
    most = parse_recipe(found.stage, found.recipe).max_length if found.id else 0
    sources = Markup().join(_source(one, most, several=len(found.sources) > 1) for one in found.sources)
    groups = Markup().join(_group(found, severity) for severity in Severity)
    return Markup(
        '<section class="td-card td-stack td-preflight" aria-label="Before the run starts">{}{}{}{}</section>'
    ).format(_head(found), _state(found), groups, sources)


def _head(found: Preflight) -> Markup:
    counts = {kind: sum(one.severity is kind for one in found.findings) for kind in Severity}
    chips = Markup().join(
        chip(count(number, _LOOKS[kind][0], _LOOKS[kind][1]), _LOOKS[kind][2])
        for kind, number in counts.items()
        if number
    )
    if found.state is PreflightState.DONE and not counts[Severity.ERROR]:
        chips = Markup("{}{}").format(chip("ready to run", "td-good"), chips)
    return Markup(
        '<div class="td-head"><h3 class="td-title">Before the run starts</h3>'
        '<div class="td-head-actions">{}</div></div>'
    ).format(chips)


def _state(found: Preflight) -> Markup:
    if found.state is PreflightState.PENDING:
        return progress_bar(found.progress, "Waiting for a free core to look at the rows")
    if found.state is PreflightState.FAILED:
        return note(found.reason or "The rows could not be looked at.", "td-bad")
    return Markup()


def _group(found: Preflight, severity: Severity) -> Markup:
    of_kind = [one for one in found.findings if one.severity is severity]
    if not of_kind:
        return Markup()
    lines = Markup().join(_finding(one) for one in of_kind)
    title = _LOOKS[severity][1].capitalize()
    return Markup('<div class="td-findings {}"><h4>{}</h4><ul>{}</ul></div>').format(
        _LOOKS[severity][2], title, lines
    )


def _finding(one: Finding) -> Markup:
    field = Markup('<code class="td-mono">{}</code> ').format(one.field) if one.field else Markup()
    todo = Markup('<span class="td-sub">{}</span>').format(one.todo) if one.todo else Markup()
    side = f"{SIDES[one.split].lower()} " if one.split else ""
    numbers = ", ".join(f"{number:,}" for number in one.rows)
    many = "rows" if len(one.rows) > 1 else "row"
    rows = Markup('<span class="td-sub">For example {}{} {}.</span>').format(side, many, numbers)
    return Markup("<li><span>{}{}</span>{}{}</li>").format(
        field, one.message, todo, rows if one.rows else Markup()
    )


def _source(source: SourceFacts, most: int, *, several: bool) -> Markup:
    title = Markup('<h4 class="td-title">{}</h4>').format(source.reference) if several else Markup()
    sides = Markup().join(
        Markup('<figure class="td-lengths"><h5>{} rows</h5>{}{}</figure>').format(
            SIDES[side], length_chart(facts_of.lengths, most), _figures(source, side)
        )
        for side, facts_of in source.splits.items()
        if facts_of.rows
    )
    return Markup('{}<div class="td-columns">{}</div>').format(title, sides)


def _figures(source: SourceFacts, side: Split) -> Markup:
    found = source.splits[side]
    share = found.learnt_tokens / found.tokens if found.tokens else 0.0
    return facts(
        {
            "Rows": f"{found.rows:,}",
            "Sequences": f"{found.sequences:,}" if found.sequences != found.rows else None,
            "Tokens": f"{found.tokens:,}, of which {found.learnt_tokens:,} learnt ({share:.0%})",
            "Cut": f"{found.truncated:,}" if found.truncated else None,
            "Left out": f"{found.left_out:,}" if found.left_out else None,
            "Repeated prompts": f"{found.duplicates:,}" if found.duplicates else None,
        }
    )
