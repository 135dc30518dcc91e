"""What a comparison looks like: the shared history, the two panes, the phase in words, the reveal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pages.components.dataset_rows import message
from pages.components.markup import address, link, note
from pages.components.wording import count
from studio.arena import Battle, BattleSide, Contender, SideEnd
from studio.core import Role, StudioError
from studio.datasets import Outcome
from studio.serving import ChatMessage
from studio.studio import Studio

#: A model server of the size that runs on a CPU is up in about this time.
_USUAL_LOAD_SECONDS = 10
_LATELY = 200

NOTHING = Markup()


@dataclass(frozen=True)
class SideView:
    """One pane: who stands there (empty while that is not told), the answer, and what is under it."""

    head: Markup = NOTHING
    text: str = ""
    foot: Markup = NOTHING


def phase(studio: Studio, seconds: float, *, stopping: bool = False) -> Markup:
    """What goes on before the first word: a model is being loaded, or it reads."""
    states = {engine.state for engine in studio.serving.engines(studio.actor)}
    if stopping:
        words = "Stopping"
    elif "starting" not in states and "ready" in states:
        words = "Reading your message"
    elif seconds < _USUAL_LOAD_SECONDS * 1.5:
        words = f"Loading the model, about {_USUAL_LOAD_SECONDS} seconds"
    else:
        words = f"Still loading the model ({seconds:.0f} s)"
    return Markup('<p class="td-chip td-busy" role="status">{}</p>').format(words)


def room(studio: Studio) -> Markup:
    """Why answers may not come now: who has the memory that the models need; nothing where nobody has."""
    engines = studio.serving.engines(studio.actor)
    to = next((engine.gives_way_to for engine in engines if engine.gives_way_to), "")
    if not to:
        return NOTHING
    return note(
        f"Models give way to {to}, which needs the memory. What has no room now answers when it ends."
    )


def history_view(messages: Sequence[ChatMessage]) -> Markup:
    """What both sides were given: earlier turns folded, the newest message open."""
    if not messages:
        return Markup()
    *earlier, newest = messages
    folded = Markup()
    if earlier:
        turns = sum(one.role == "user" for one in earlier)
        folded = Markup(
            '<details><summary>{}, shared by both sides</summary><div class="td-said">{}</div></details>'
        ).format(
            count(turns, "earlier turn"), Markup().join(message(one.role, one.content) for one in earlier)
        )
    said = Markup('<div class="td-said">{}</div>').format(message(newest.role, newest.content))
    return Markup('<div class="td-turns">{}{}</div>').format(folded, said)


def named_head(studio: Studio, side: BattleSide) -> Markup:
    """Who stands on a side, once that may be told."""
    return _named(studio, side.model, side.model_version_id, side.variant)


def contender_head(studio: Studio, contender: Contender) -> Markup:
    """The same for a contender who has not answered yet."""
    try:
        model = studio.registry.version(studio.actor, contender.model_version_id)
    except StudioError:
        # A private model may answer in a deployment for people who may not look it up.
        return Markup("{}").format(contender.variant or "a private model")
    return _named(studio, model.reference, model.id, contender.variant)


def _named(studio: Studio, reference: str, model_id: str, variant: str) -> Markup:
    # Stakeholders have no page that a model's link could lead to.
    linked = studio.actor.role is not Role.STAKEHOLDER
    name = link(reference, address("models", model=model_id)) if linked else reference
    return Markup("{}{}").format(name, Markup(" as {}").format(variant) if variant else "")


def finished_side(studio: Studio, side: BattleSide, battle: Battle, end: SideEnd | None) -> SideView:
    """A pane with its whole answer; measurements only where the names are told."""
    told = battle.revealed_at is not None
    # While a battle is blind its stored end is redacted, but how each side ended was streamed to everyone.
    ended = end.finish_reason if end else side.finish_reason
    foot = Markup()
    if side.error:
        foot = note(side.error, "td-bad")
    elif ended == "length":
        foot = Markup("<p>Cut off at the token limit; a cut answer does not become training data.</p>")
    elif ended == "cancelled":
        foot = Markup("<p>Stopped before it was finished.</p>")
    elif not side.text.strip():
        foot = Markup("<p>The answer is empty.</p>")
    measured = Markup("<p>{}</p>").format(_measured(end)) if told and end and not battle.blind else Markup()
    return SideView(named_head(studio, side) if told else Markup(), side.text, foot + measured)


def _measured(end: SideEnd) -> str:
    parts = []
    if end.first_token_seconds is not None:
        parts.append(f"first word after {end.first_token_seconds:.1f} s")
    if end.tokens_per_second is not None:
        parts.append(f"{end.tokens_per_second:.3g} tokens/s")
    if end.completion_tokens is not None:
        parts.append(count(end.completion_tokens, "token"))
    return " · ".join(parts)


def reveal(studio: Studio, battle: Battle) -> Markup:
    """Who was who, what the verdict was, and how these two stand against each other so far."""
    verdict = {
        Outcome.A: "You prefer A.",
        Outcome.B: "You prefer B.",
        Outcome.TIE: "You call it a tie.",
        Outcome.BOTH_BAD: "You find both bad.",
        Outcome.SKIP: "No verdict.",
    }[battle.outcome or Outcome.SKIP]
    who = Markup('{} <strong class="td-a">A</strong> is {}, <strong class="td-b">B</strong> is {}.').format(
        verdict, named_head(studio, battle.a), named_head(studio, battle.b)
    )
    tally = _tally(studio, battle)
    return Markup(
        '<div class="td-note td-reveal" role="status"><p class="td-who">{}</p><p class="td-sub">{}</p></div>'
    ).format(who, tally)


def _tally(studio: Studio, battle: Battle) -> str:
    """Wins so far of the two models over each other, counted over the latest battles."""
    if battle.a.model_version_id == battle.b.model_version_id:
        return "Both sides were the same model, so this vote says how much chance is in a verdict."
    pair = {battle.a.model_version_id: battle.a.model, battle.b.model_version_id: battle.b.model}
    wins = dict.fromkeys(pair, 0)
    undecided = 0
    for one in studio.arena.battles(studio.actor, _LATELY):
        if one.outcome is None or {one.a.model_version_id, one.b.model_version_id} != set(pair):
            continue
        if one.outcome in (Outcome.A, Outcome.B):
            wins[(one.a if one.outcome is Outcome.A else one.b).model_version_id] += 1
        elif one.outcome is not Outcome.SKIP:
            undecided += 1
    told = ", ".join(f"{name} preferred {wins[identity]}×" for identity, name in pair.items())
    without = f", {undecided} without a winner" if undecided else ""
    return f"So far between these two: {told}{without}."
