"""Why a run failed: the class in words, the lines that show it, what to do, and what a retry would change."""

from __future__ import annotations

from markupsafe import Markup

from studio.training import FailureCard, FailureKind

#: Ended from outside or unknown: nothing is wrong with the run itself.
_NOT_ITS_FAULT = (FailureKind.KILLED, FailureKind.LOST)


def failure_card(card: FailureCard) -> Markup:
    """The card; the button that tries again stands outside it."""
    kind = "td-busy" if card.kind in _NOT_ITS_FAULT else "td-bad"
    return Markup(
        '<section class="td-note td-failure {}" aria-label="Why it failed"><p>'
        "<strong>{}</strong></p><p>{}</p>{}{}</section>"
    ).format(
        kind,
        card.title,
        card.suggestion,
        _changes(card.fix),
        _evidence(card.evidence),
    )


def fix_words(fix: dict[str, object]) -> str:
    """The changes of a retry on one line, for a button or a tooltip: ``batch_size: 2, recompute: true``."""
    return ", ".join(f"{path}: {_value(value)}" for path, value in fix.items())


def _changes(fix: dict[str, object]) -> Markup:
    if not fix:
        return Markup()
    items = Markup().join(
        Markup("<li><code>{}: {}</code></li>").format(path, _value(value)) for path, value in fix.items()
    )
    return Markup('<p>A retry with the fix changes:</p><ul class="td-failure-fix">{}</ul>').format(items)


def _evidence(lines: tuple[str, ...]) -> Markup:
    if not lines:
        return Markup('<p class="td-sub">Its log holds nothing about it.</p>')
    return Markup(
        '<p class="td-sub">What shows it:</p><pre class="td-failure-lines" tabindex="0">{}</pre>'
    ).format("\n".join(lines))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
