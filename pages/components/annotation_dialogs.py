"""The dialogs of the annotation card: why something is skipped, the keys, and one's own labels.

Only frames stand here, as trusted constants; the scripts fill them with text.
"""

from __future__ import annotations

_KEYS = (
    ("preference", "1 2", "A is better, B is better"),
    ("preference", "3 4", "Tie, both bad"),
    ("preference", "\u2190 \u2192", "Lean to A or to B, further each time; Enter stores it"),
    ("preference", "\u2191 \u2193", "After choosing: by how much, for the label just given"),
    ("rating", "1 to 5", "Rate the marked answer, then the other; 5 is very good"),
    ("rating", "\u2190 \u2192", "Go to the other answer"),
    ("rating", "Enter", "Store the ratings"),
    ("edit", "1", "The answer is fine as it is"),
    ("edit", "E", "Write; Esc leaves the text, Ctrl Enter stores it"),
    ("accept", "1 2", "Accept, reject"),
    ("preference rating accept", "E", "Write a better answer; Ctrl Enter keeps it with the label"),
    ("", "S", "Skip, with a reason; Enter skips without one"),
    ("", "U", "Take the last label back, and the one before it"),
    ("preference rating", "D", "Mark what differs between the answers"),
    ("", "G", "The guideline"),
    ("", "H", "My labels: look, change, and what was skipped"),
    ("", "?", "These keys"),
)


def _key_rows() -> str:
    row = "<div{task}><dt>{keys}</dt><dd>{words}</dd></div>"
    return "".join(
        row.format(
            task=f' data-for="{task}"' if task else "",
            keys=f"<kbd>{keys}</kbd>",
            words=words,
        )
        for task, keys, words in _KEYS
    )


_CLOSE = '<button type="button" class="td-plain" data-close>Close</button>'

DIALOGS = f"""
  <dialog class="td-sheet" data-part="help" aria-label="Keys">
    <header><h2>Keys</h2>{_CLOSE}</header><dl class="td-keys">{_key_rows()}</dl>
    <p class="td-sub">A pair has to be on screen for a moment before a key counts. Time away from the
      keyboard, or with this page hidden, is not counted as work.</p>
  </dialog>
  <dialog class="td-sheet" data-part="skip" aria-label="Skip">
    <header><h2>Skip, because</h2>{_CLOSE}</header>
    <div class="td-reasons" data-part="reasons"></div>
    <label for="td-why">Or in your words</label>
    <input id="td-why" data-part="why" type="text" maxlength="500" autocomplete="off">
    <div class="td-head-actions"><button type="button" class="td-button td-primary" data-part="skip-go"
      >Skip <kbd>Enter</kbd></button><span class="td-sub">A reason helps, and may be left out.</span></div>
  </dialog>
  <dialog class="td-sheet td-sheet-wide" data-part="history" aria-label="My labels">
    <header><h2>My labels</h2>{_CLOSE}</header>
    <div class="td-head-actions" data-part="history-actions"></div>
    <ol class="td-history" data-part="history-list"></ol>
    <p class="td-sub" data-part="history-words" role="status"></p>
    <button type="button" class="td-button" data-part="history-more" hidden>Show earlier ones</button>
  </dialog>
"""
