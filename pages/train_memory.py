"""What the recipe on the Train page comes to: the memory that it needs, and the command that would run it.

Both follow the recipe while it is changed. The change that makes a run fit is worked out anew when it is
taken, for the recipe as it stands then.
"""

from __future__ import annotations

import shlex
from typing import Any

import gradio as gr
from markupsafe import Markup

from pages.components.acts import do, offered, row
from pages.components.markup import note
from pages.components.memory_bar import memory_bar
from pages.components.recipe_form import FIELDS, FORM, YAML, described
from pages.components.wiring import toast
from pages.train_fill import OWN_VALUES, into_form
from studio.core import InvalidInput, StudioError
from studio.studio import Studio
from studio.training import Recipe, Stage, dump_recipe
from studio.training.memory import MemoryEstimate
from studio.training.retry import patched

_FILE = "recipe.yaml"


def memory_panel(studio: Studio, **given: Any) -> dict[str, str]:
    """The estimate of the recipe that the page describes, with a button for the change that makes it fit."""
    try:
        found = _estimate(studio, described(**given))
    except StudioError as error:
        first = error.details[0] if error.details else error.message
        said = Markup('<p class="td-sub">No estimate while the recipe is not complete. {}</p>').format(first)
        return offered(_framed(said))
    button = do("Use this change", "use_change", kind="td-primary") if found.fix else Markup()
    return offered(_framed(Markup("{}{}").format(memory_bar(found), row(button))))


def use_change(studio: Studio, *, mode: str, **given: Any) -> tuple[Any, ...]:
    """Put the change that makes the run fit into the form or the YAML, whichever is in use.

    Raises:
        InvalidInput: The recipe fits as it is, or nothing would make it fit.
    """
    recipe = described(mode=mode, **given)
    found = _estimate(studio, recipe)
    if found.fix is None:
        raise InvalidInput("There is nothing to change.", "The recipe fits, or no change makes it fit.")
    changed = patched(recipe, found.fix.changes)
    toast(found.fix.sentence)
    text = dump_recipe(changed)
    panel = memory_panel(studio, mode=YAML, **{**given, "yaml": text})
    if mode == FORM:
        return panel, gr.skip(), None, OWN_VALUES, *into_form(changed, given)
    return panel, text, gr.skip(), gr.skip(), gr.skip(), gr.skip(), *(gr.skip() for _ in FIELDS)


def command_view(
    *, name: str, priority: float | None, after: list[str], anyway: bool, devices: list[str], **given: Any
) -> Markup:
    """What to type in a terminal to run the same, with a button that copies it."""
    try:
        recipe = described(**given)
    except StudioError as error:
        return note(f"There is no command yet. {error.details[0] if error.details else error.message}")
    text = command(recipe, name, int(priority or 0), after, devices, anyway=anyway)
    return Markup(
        '<div class="td-terminal"><button type="button" class="td-button td-small td-copy" data-copy="{0}">'
        'Copy</button><pre class="td-log" tabindex="0">{0}</pre></div>'
    ).format(text)


def command(
    recipe: Recipe, name: str, priority: int, after: list[str], devices: list[str], *, anyway: bool
) -> str:
    """The recipe as a file, and the command that runs it as the page would."""
    asked = ["python", "-m", "studio", "train", _FILE]
    if name.strip():
        asked += ["--name", name.strip()]
    if priority:
        asked += ["--priority", str(priority)]
    for run in after:
        asked += ["--after", run]
    if after and anyway:
        asked.append("--continue-on-error")
    for device in devices:
        asked += ["--device", device]
    # No line of a dumped recipe is the bare word that ends it: each is a field or a list's item.
    lines = [f"cat > {_FILE} <<'RECIPE'", dump_recipe(recipe).rstrip("\n"), "RECIPE", shlex.join(asked)]
    return "\n".join(lines) + "\n"


def _estimate(studio: Studio, recipe: Recipe) -> MemoryEstimate:
    return studio.training.estimate(studio.actor, Stage(recipe.STAGE), dump_recipe(recipe))


def _framed(inside: Markup) -> Markup:
    return Markup(
        '<section class="td-card td-stack" aria-label="Memory">'
        '<h3 class="td-title">Memory that it will need</h3>{}</section>'
    ).format(inside)
