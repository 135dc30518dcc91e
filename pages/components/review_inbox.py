"""The adjudication inbox: cases on which people disagree, decided with the keyboard one after the other.

The component lives in the browser (``assets/review_inbox.js``); its value is the inbox as the service sees
it, and its one event, ``decide``, carries a decision. The answer is the inbox anew, with what became of
the decision, so that two adjudicators who work at once see each other's progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pages.components.review_dashboard import STANDING_WORDS, sure
from pages.theme import asset
from studio.annotation import Project, Standing, Task, Verdict
from studio.annotation.review_records import Disagreement, Voice

#: As many cases as are sent at once; the next ones come with the answer to a decision.
MOST_CASES = 20

_FRAME = """
<section class="td-judge" aria-label="Disagreements to decide" hidden>
  <p class="td-note td-bad" data-part="trouble" role="alert" hidden></p>
  <p class="td-note" data-part="guideline" aria-label="Guideline" hidden></p>
  <div class="td-judge-body" data-part="body">
    <div class="td-judge-head"><strong data-part="left" aria-live="polite"></strong>
      <span class="td-tag" data-part="again" hidden>decided before, decide again</span></div>
    <div class="td-judge-prompt" data-part="prompt" tabindex="0" role="group" aria-label="Prompt"></div>
    <div class="td-judge-sides">
      <article class="td-judge-side td-side-a" aria-label="Answer A">
        <h3 class="td-a">A</h3><div data-part="a" tabindex="0"></div></article>
      <article class="td-judge-side td-side-b" aria-label="Answer B">
        <h3 class="td-b">B</h3><div data-part="b" tabindex="0"></div></article>
    </div>
    <div class="td-judge-said">
      <h3>What people said</h3><ul data-part="voices"></ul>
      <p class="td-sub" data-part="consensus"></p>
    </div>
    <p class="td-note td-busy" data-part="refusal" hidden></p>
  </div>
  <div class="td-empty" data-part="done" hidden><p><strong>Nothing is left to decide.</strong>
    Items appear here when everyone has labelled them and their labels differ.</p></div>
  <footer class="td-judge-bar" data-part="bar">
    <label class="td-judge-comment"><span>Why <kbd>C</kbd></span>
      <textarea rows="1" data-part="comment"
        placeholder="For those who labelled it; may stay empty"></textarea>
    </label>
    <div class="td-judge-verdicts" data-part="verdicts"></div>
    <div class="td-judge-more">
      <button type="button" class="td-plain" data-act="previous">Previous <kbd>P</kbd></button>
      <button type="button" class="td-plain" data-act="next">Next <kbd>N</kbd></button>
      <button type="button" class="td-plain" data-act="back" data-part="back"
        >Decide again <kbd>U</kbd></button>
      <button type="button" class="td-plain" data-act="guideline" aria-expanded="false"
        >Guideline <kbd>G</kbd></button>
    </div>
  </footer>
</section>
"""

_CHOICES: dict[Task, tuple[tuple[str, Verdict, str, str], ...]] = {
    Task.PREFERENCE: (
        ("1", Verdict.A, "A is better", "a"),
        ("2", Verdict.B, "B is better", "b"),
        ("3", Verdict.TIE, "Tie", ""),
        ("4", Verdict.BOTH_BAD, "Both bad", ""),
    ),
    Task.ACCEPT: (("1", Verdict.ACCEPT, "Accept", ""), ("2", Verdict.REJECT, "Reject", "")),
}
_VERDICT_WORDS = {
    Verdict.A: "A is better",
    Verdict.B: "B is better",
    Verdict.TIE: "Tie",
    Verdict.BOTH_BAD: "Both bad",
    Verdict.ACCEPT: "Accept",
    Verdict.REJECT: "Reject",
    Verdict.EDITED: "Wrote another",
    Verdict.SKIP: "Skipped",
}
_STRENGTHS = {1: "slightly", 2: "clearly", 3: "much"}


def inbox_card(elem_id: str = "review-inbox") -> Any:
    """The component; give it ``inbox_value(...)`` and listen to its ``decide``."""
    return gr.HTML(
        closed(),
        html_template=_FRAME,
        js_on_load=asset("review_inbox.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def closed() -> dict[str, Any]:
    """The value that shows nothing."""
    return {"project": ""}


def inbox_value(
    project: Project,
    found: Sequence[Disagreement],
    *,
    total: int,
    stored: str = "",
    problem: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The value that shows ``found``.

    Args:
        project: Whose disagreements they are.
        found: The first of them.
        total: How many there are in all.
        stored: The item whose decision was just stored.
        problem: The ``id`` of an item and ``words`` that say why its decision was not stored.
    """
    choices = _CHOICES.get(project.task, ())
    return {
        "project": project.id,
        "guideline": project.guideline,
        "choices": [dict(zip(("key", "verdict", "words", "side"), one, strict=True)) for one in choices],
        "rated": ["a", "b"] if project.task is Task.RATING else [],
        "cases": [_case(one) for one in found[:MOST_CASES]],
        "total": total,
        "stored": stored,
        "problem": problem,
    }


def _case(one: Disagreement) -> dict[str, Any]:
    return {
        "id": one.item_id,
        "prompt": list(one.prompt),
        "a": list(one.a),
        "b": list(one.b),
        "voices": [_voice(voice) for voice in one.voices],
        "consensus": _consensus(one),
        "refusal": one.refusal,
    }


def _voice(voice: Voice) -> dict[str, str]:
    side = voice.verdict.value if voice.verdict in (Verdict.A, Verdict.B) else ""
    return {
        "person": voice.person,
        "words": _said(voice),
        "side": side,
        "comment": voice.comment,
        "better": voice.better_answer,
    }


def _said(voice: Voice) -> str:
    if voice.rating_a is not None:
        ratings = (("A", voice.rating_a), ("B", voice.rating_b))
        return ", ".join(f"{side} {rating} of 5" for side, rating in ratings if rating is not None)
    words = _VERDICT_WORDS[voice.verdict]
    strength = _STRENGTHS.get(voice.strength or 0)
    return words.replace(" is ", f" is {strength} ") if strength else words


def _consensus(one: Disagreement) -> str:
    own = "You labelled it too: nobody else could decide it." if one.own_label and not one.refusal else ""
    if one.probability is None:
        return own
    words = STANDING_WORDS[one.consensus].lower()
    if one.consensus in (Standing.FIRST, Standing.SECOND):
        a_is_it = (one.consensus is Standing.FIRST) == (one.first_side == "a")
        words = _VERDICT_WORDS[Verdict.A if a_is_it else Verdict.B]
    return f"Weighing people by how reliable they are: {words}, {sure(one.probability)} sure. {own}".strip()
