"""The card on which items are labelled: it lives in the browser, so that a key is answered at once.

The component holds only a frame; the scripts named in ``SCRIPTS`` do the rest, put together into one.
They take the project from the address (``?tab=annotate&project=…``), fetch items ahead under leases from
``GET /annotation/{project}/next``, show the next one on the spot, and store each label by
``POST /annotation/{project}/labels`` in the background. A label that could not be sent stays in the
browser's storage, under the name of who gave it, and is sent again under the nonce it was given, so it counts
once. Every text enters the page as text, never as HTML; a guideline's Markdown becomes elements.

It does not keep two tabs of one person apart: the later label of an item supersedes the earlier one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from pages.components.annotation_dialogs import DIALOGS
from pages.theme import asset

#: What the card's script is put together from: parts that stand alone first, the one that joins them last.
SCRIPTS = (
    "label_words.js",
    "label_clock.js",
    "label_differences.js",
    "label_markdown.js",
    "label_calls.js",
    "label_outbox.js",
    "label_queue.js",
    "label_draw.js",
    "label_editor.js",
    "label_panels.js",
    "label_desk.js",
    "annotate.js",
)

_TOP = """
  <header class="td-label-top">
    <div class="td-label-name"><a class="td-text-link" href="?tab=annotate" data-go>Projects</a>
      <strong data-part="name"></strong></div>
    <div class="td-label-tools">
      <button type="button" class="td-plain" data-act="guideline" aria-expanded="false"
        >Guideline <kbd>G</kbd></button>
      <button type="button" class="td-plain" data-act="history">My labels <kbd>H</kbd></button>
      <button type="button" class="td-plain" data-act="help" aria-label="Keys">Keys <kbd>?</kbd></button>
    </div>
    <div class="td-label-progress"><span class="td-sub" data-part="progress" aria-live="off"></span>
      <div class="td-bar" data-part="bar" role="progressbar" aria-label="Labelled" aria-valuemin="0"
        aria-valuemax="100"></div></div>
  </header>
  <div class="td-note td-busy" data-part="trouble" role="status" hidden></div>
  <div class="td-note td-label-notice" data-part="notice" role="status" hidden></div>
  <aside class="td-label-guideline" data-part="guideline" aria-label="Guideline" tabindex="0" hidden></aside>
"""


def _rates(side: str) -> str:
    """Five buttons that rate a side; ``side`` is one of ours, ``a`` or ``b``."""
    buttons = "".join(
        f'<button type="button" role="radio" aria-checked="false" data-rate="{side}{n}">{n}</button>'
        for n in range(1, 6)
    )
    name = f"Rating of answer {side.upper()}, 1 is bad and 5 is very good"
    return f'<div class="td-rates" role="radiogroup" data-for="rating" aria-label="{name}">{buttons}</div>'


_SIDES = f"""
    <div class="td-label-sides" data-part="sides">
      <article class="td-label-side td-side-a" data-part="side-a" aria-label="Answer A">
        <header><h3 class="td-a" data-part="title-a">A</h3>{_rates("a")}</header>
        <div class="td-text" data-part="a" tabindex="0"></div></article>
      <article class="td-label-side td-side-b" data-part="side-b" aria-label="Answer B">
        <header><h3 class="td-b">B</h3>{_rates("b")}</header>
        <div class="td-text" data-part="b" tabindex="0"></div></article>
    </div>
"""

_EDITOR = """
    <section class="td-label-editor" data-part="editor" aria-label="A better answer" hidden>
      <header><label for="td-better" data-part="editor-title">A better answer</label>
        <span class="td-label-starts" data-part="starts"></span></header>
      <textarea id="td-better" data-part="better" rows="6" spellcheck="true" maxlength="50000"></textarea>
      <div class="td-label-remark"><label for="td-comment">Comment</label>
        <input id="td-comment" data-part="comment" type="text" maxlength="2000" autocomplete="off"></div>
      <div class="td-head-actions" data-part="editor-actions">
        <button type="button" class="td-button" data-act="keep"
          >Keep and go back <kbd>Ctrl Enter</kbd></button>
        <button type="button" class="td-plain" data-act="discard">Throw it away</button></div>
    </section>
"""

_LEAN_WORDS = ("A is much better", "A is clearly better", "A is slightly better", "Tie")
_LEANS = [*_LEAN_WORDS, *(words.replace("A is", "B is") for words in _LEAN_WORDS[2::-1])]
_SCALE = "".join(
    f'<button type="button" role="radio" aria-checked="false" data-lean="{at - 3}" aria-label="{words}"'
    f' title="{words}"><i></i></button>'
    for at, words in enumerate(_LEANS)
)

_BAR = f"""
  <footer class="td-label-bar" data-part="keys">
    <div class="td-label-last" data-part="last" hidden><span data-part="last-words"></span>
      <span class="td-label-amend" data-part="amend" role="group" aria-label="By how much">
        <button type="button" data-amend="1" aria-pressed="false">slightly</button>
        <button type="button" data-amend="2" aria-pressed="false">clearly</button>
        <button type="button" data-amend="3" aria-pressed="false">much</button></span></div>
    <div class="td-label-scale" data-part="scale" data-for="preference" role="radiogroup"
      aria-label="Which is better, and by how much"><span class="td-a" aria-hidden="true">A</span>
      {_SCALE}<span class="td-b" aria-hidden="true">B</span></div>
    <div class="td-label-votes" data-part="votes">
      <button type="button" class="td-button td-vote-a" data-act="a" data-for="preference"><span
        >A <span class="td-wide">is </span>better</span> <kbd>1</kbd></button>
      <button type="button" class="td-button" data-act="tie" data-for="preference">Tie <kbd>3</kbd></button>
      <button type="button" class="td-button" data-act="both_bad" data-for="preference"
        >Both bad <kbd>4</kbd></button>
      <button type="button" class="td-button td-vote-b" data-act="b" data-for="preference"><span
        >B <span class="td-wide">is </span>better</span> <kbd>2</kbd></button>
      <button type="button" class="td-button" data-act="accept" data-for="accept">Accept <kbd>1</kbd></button>
      <button type="button" class="td-button" data-act="reject" data-for="accept">Reject <kbd>2</kbd></button>
      <button type="button" class="td-button" data-act="fine" data-for="edit">It is fine <kbd>1</kbd></button>
      <button type="button" class="td-button td-primary" data-act="store" data-part="store"
        data-for="rating edit">Store <kbd data-part="store-key"
        ></kbd></button>
    </div>
    <div class="td-label-more" data-part="more">
      <button type="button" class="td-plain" data-act="skip">Skip <kbd>S</kbd></button>
      <button type="button" class="td-plain" data-act="undo">Undo <kbd>U</kbd></button>
      <button type="button" class="td-plain" data-act="edit" aria-pressed="false"
        ><span data-part="edit-words">Better answer</span> <kbd>E</kbd></button>
      <button type="button" class="td-plain" data-act="differences" data-part="differences"
        aria-pressed="false">Differences <kbd>D</kbd></button>
    </div>
  </footer>
"""

_FRAME = f"""
<section class="td-label" data-part="card" aria-label="Labelling" hidden>
  {_TOP}
  <div class="td-label-body" data-part="body">
    <div class="td-note td-label-notice" data-part="replacing" hidden></div>
    <div class="td-label-prompt" data-part="prompt" tabindex="0" aria-label="Prompt"></div>
    <p class="td-label-suggestion" data-part="suggestion" hidden></p>
    {_SIDES}
    {_EDITOR}
  </div>
  <div class="td-empty" data-part="done" hidden><p><strong data-part="done-title"></strong>
    <span data-part="done-words"></span></p><div class="td-head-actions" data-part="done-actions"></div></div>
  {_BAR}
  {DIALOGS}
</section>
"""


def script() -> str:
    """The card's script, whole."""
    return "\n".join(asset(name) for name in SCRIPTS)


def annotation_card(elem_id: str = "annotation-card") -> Any:
    """The component; it has no value and no events, because the browser talks to the REST routes itself."""
    return gr.HTML(
        "",
        html_template=_FRAME,
        js_on_load=script(),
        apply_default_css=False,
        elem_id=elem_id,
    )
