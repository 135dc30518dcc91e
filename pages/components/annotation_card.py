"""The card on which pairs are judged: it lives in the browser, so that a key is answered at once.

The component holds only a frame; ``assets/annotate.js`` does the rest. It takes the queue from the
address (``?tab=annotate&queue=…``), prefetches pairs from ``GET /annotation/{queue}/next``, shows the
next one on the spot, and stores each label by ``POST /annotation/{queue}/labels`` in the background. A
label that could not be sent stays in the browser's storage and is sent again, under the nonce it was
given, so it counts once. Every text enters the page as text, never as HTML.

It does not keep two tabs of one person apart: the later label of a pair supersedes the earlier one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from pages.theme import asset

_FRAME = """
<section class="td-label" data-part="card" aria-label="Pair to judge" hidden>
  <header class="td-label-top">
    <div class="td-label-name"><a class="td-text-link" href="?tab=annotate" data-go>All queues</a>
      <strong data-part="name"></strong></div>
    <div class="td-label-progress"><span class="td-sub" data-part="progress" aria-live="off"></span>
      <div class="td-bar" data-part="bar" role="progressbar" aria-label="Labelled" aria-valuemin="0"
        aria-valuemax="100"></div></div>
  </header>
  <p class="td-note td-busy" data-part="trouble" role="status" hidden></p>
  <aside class="td-note" data-part="guideline" aria-label="Guideline" hidden></aside>
  <div class="td-label-body" data-part="body">
    <div class="td-label-prompt" data-part="prompt" tabindex="0" aria-label="Prompt"></div>
    <div class="td-label-sides">
      <article class="td-label-side td-side-a" aria-label="Answer A">
        <h3 class="td-a">A</h3><div class="td-text" data-part="a" tabindex="0"></div></article>
      <article class="td-label-side td-side-b" aria-label="Answer B">
        <h3 class="td-b">B</h3><div class="td-text" data-part="b" tabindex="0"></div></article>
    </div>
  </div>
  <div class="td-empty" data-part="done" hidden><p><strong data-part="done-title"></strong>
    <span data-part="done-words"></span></p><div class="td-head-actions" data-part="done-actions"></div></div>
  <footer class="td-label-bar" data-part="keys">
    <div class="td-label-votes" data-part="votes">
      <button type="button" class="td-button td-vote-a" data-act="a">A is better <kbd>1</kbd></button>
      <button type="button" class="td-button" data-act="tie">Tie <kbd>3</kbd></button>
      <button type="button" class="td-button" data-act="both_bad">Both bad <kbd>4</kbd></button>
      <button type="button" class="td-button td-vote-b" data-act="b">B is better <kbd>2</kbd></button>
    </div>
    <div class="td-label-more">
      <button type="button" class="td-plain" data-act="skip">Skip <kbd>S</kbd></button>
      <button type="button" class="td-plain" data-act="undo">Undo <kbd>U</kbd></button>
      <button type="button" class="td-plain" data-act="differences" aria-pressed="false"
        >Differences <kbd>D</kbd></button>
      <button type="button" class="td-plain" data-act="guideline" aria-expanded="false"
        >Guideline <kbd>G</kbd></button>
    </div>
  </footer>
</section>
"""


def annotation_card(elem_id: str = "annotation-card") -> Any:
    """The component; it has no value and no events, because the browser talks to the REST routes itself."""
    return gr.HTML(
        "",
        html_template=_FRAME,
        js_on_load=asset("annotate.js"),
        apply_default_css=False,
        elem_id=elem_id,
    )
