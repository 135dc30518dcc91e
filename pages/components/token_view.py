"""Rows token by token, as they will be trained: what is learnt, what is only read, what is cut off.

Learnt stretches are a ``<mark>``, underlined as well as coloured, so that they show without colour and are
announced by screen readers. A line end shows as a sign and breaks the line; the model's own marks are
framed. Each token carries its id as a title.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from markupsafe import Markup

from pages.components.markup import chip, empty
from pages.components.wording import count
from studio.datasets import Split
from studio.training import Stage
from studio.training.preflight import Token, TokenKind, TokenPage, TokenPart, TokenSequence

SIDES = {Split.TRAIN: "Training", Split.VALIDATION: "Held out"}
_NAMES = {
    "text": "Text",
    "conversation": "Conversation",
    "prompt": "Prompt",
    "chosen": "Chosen answer",
    "rejected": "Rejected answer",
    "completion": "Answer",
}
_SIGNS = (("\r", "␍"), ("\n", "⏎\n"), ("\t", "⇥\t"))
_CLASSES = {TokenKind.READ: "td-tok-read", TokenKind.CUT: "td-tok-cut"}


def token_page(page: TokenPage, stage: Stage, search: str = "") -> Markup:
    """One page of rows under the legend."""
    if not page.rows:
        if search:
            return empty("No row holds that text.", "Search for other words.")
        return empty("No rows.", "There are none on this side of the dataset.")
    shown = Markup().join(_row(row, stage) for row in page.rows)
    return Markup('{}<ol class="td-tokens">{}</ol>').format(legend(stage), shown)


def legend(stage: Stage) -> Markup:
    """What each look means, in words of the stage."""
    learnt = "learnt: the loss counts it"
    if stage is Stage.REWARD:
        learnt = "scored: the model's number for the answer is read here"
    entries = [
        Markup('<li><mark class="td-tok-learnt">Aa</mark> {}</li>').format(learnt),
        Markup('<li><span class="td-tok-read">Aa</span> only read</li>'),
        Markup('<li><span class="td-tok-cut">Aa</span> cut off or left out: never seen</li>'),
        Markup('<li><span class="td-tok td-tok-mark">&lt;s&gt;</span> a mark of the model\'s own</li>'),
        Markup('<li><span class="td-tok">⏎</span> a line end</li>'),
        Markup("<li>Padding, up to the longest row of a batch, is never learnt.</li>"),
    ]
    return Markup('<ul class="td-token-legend" aria-label="What the colours mean">{}</ul>').format(
        Markup().join(entries)
    )


def place(page: TokenPage) -> str:
    """Where in the side the page stands."""
    if not page.rows:
        return "no rows"
    last = page.first + len(page.rows)
    return f"{page.first + 1:,} to {last:,} of {count(page.total, 'row')}"


def _row(row: TokenSequence, stage: Stage) -> Markup:
    head = Markup('<div class="td-row-head"><h4>Row {:,}</h4><span class="td-sub">{}</span></div>').format(
        row.number, ", ".join(_figures(row, stage))
    )
    why = Markup('<p class="td-token-why">{} {}</p>').format(chip("left out", "td-busy"), row.left_out)
    judged = {True: chip("judged good", "td-good"), False: chip("judged bad", "td-bad"), None: Markup()}
    answers = [part for part in row.parts if part.name in ("chosen", "rejected")]
    rest = [part for part in row.parts if part not in answers]
    body = Markup().join(_part(part, alone=len(row.parts) == 1) for part in rest)
    if answers:
        pair = Markup().join(_part(part) for part in answers)
        body += Markup('<div class="td-columns td-pair">{}</div>').format(pair)
    return Markup('<li class="td-card">{}{}{}{}</li>').format(
        head, why if row.left_out else Markup(), body, judged[row.label]
    )


def _figures(row: TokenSequence, stage: Stage) -> Iterator[str]:
    yield count(row.length, "token")
    if row.left_out:
        return
    yield f"{row.learnt:,} {'scored' if stage is Stage.REWARD else 'learnt'}"
    if row.cut:
        yield f"{row.cut:,} cut off"
    if row.padding:
        yield f"{row.padding:,} below max_length"


def _part(part: TokenPart, *, alone: bool = False) -> Markup:
    more = Markup('<p class="td-sub">And {} more.</p>').format(count(part.more, "token"))
    head = Markup() if alone else Markup("<h5>{}</h5>").format(_NAMES.get(part.name, part.name))
    return Markup('<section>{}<div class="td-token-text" tabindex="0">{}</div>{}</section>').format(
        head, _tokens(part.tokens), more if part.more else Markup()
    )


def _tokens(tokens: Iterable[Token]) -> Markup:
    """The tokens in stretches of one kind; a piece of a long text begins a new one."""
    piece = 0

    def stretch(one: Token) -> tuple[int, TokenKind]:
        nonlocal piece
        piece += one.new_piece
        return piece, one.kind

    made: list[Markup] = []
    for (number, kind), stretched in groupby(tokens, stretch):
        run = list(stretched)
        if run[0].new_piece:
            made.append(Markup('<span class="td-token-piece">sequence {:,}</span>').format(number + 1))
        inside = Markup().join(_token(one) for one in run)
        if kind is TokenKind.LEARNT:
            made.append(Markup('<mark class="td-tok-learnt">{}</mark>').format(inside))
        else:
            made.append(Markup('<span class="{}">{}</span>').format(_CLASSES[kind], inside))
    return Markup().join(made)


def _token(one: Token) -> Markup:
    text = one.text
    for plain, sign in _SIGNS:
        text = text.replace(plain, sign)
    kind = "td-tok td-tok-mark" if one.special else "td-tok"
    return Markup('<span class="{}" title="token {}">{}</span>').format(kind, one.id, text)
