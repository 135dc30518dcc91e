"""What the labels of each item come to, the least certain first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pages.components.markup import address, empty, link, tag
from pages.components.record_list import Column, Entry, record_list
from pages.components.review_dashboard import STANDING_WORDS, sure
from pages.components.wording import count
from studio.annotation import StoredItem
from studio.annotation.review_records import Consensus

PAGE = 50

_COLUMNS = (
    Column("Item", "", "td-main", bare=True),
    Column("Consensus"),
    Column("Sure", "", "td-num"),
    Column("Labels agree", "", "td-num"),
    Column("People", "", "td-num"),
)
_OPENING = 140


def ranked(found: Sequence[Consensus]) -> list[Consensus]:
    """The least certain first; what was adjudicated stands last."""
    return sorted(found, key=lambda one: (one.probability or 0.0, one.agreement, one.position))


def page_of(asked: Mapping[str, str], total: int) -> int:
    """The 0-based place of the first item that the address asks for."""
    digits = asked.get("from", "")
    first = int(digits) - 1 if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    return min(max(first, 0), max(total - 1, 0)) // PAGE * PAGE


def listing(
    shown: Sequence[Consensus],
    texts: Mapping[int, StoredItem],
    first: int,
    total: int,
    asked: Mapping[str, str],
) -> Markup:
    """The list of a page, and the way to the next one."""
    if not total:
        return empty("No consensus yet.", "It appears as soon as items are labelled.")
    words = Markup(
        '<p class="td-sub">What the labels of {} come to, the least certain first. People are weighed by how '
        "reliable they are (Dawid and Skene).</p>"
    ).format(count(total, "item"))
    rows = [_row(one, texts.get(one.position)) for one in shown]
    return words + record_list("Consensus", _COLUMNS, rows, asked) + _pager(first, len(shown), total, asked)


def _row(one: Consensus, item: StoredItem | None) -> Entry:
    prompt = item.prompt[-1]["content"] if item and item.prompt else ""
    opening = prompt if len(prompt) <= _OPENING else f"{prompt[:_OPENING].rstrip()} …"
    words = Markup("{} {}").format(
        STANDING_WORDS[one.standing], tag("adjudicated") if one.adjudication_id else ""
    )
    ratings = ", ".join(
        f"{value:.1f}" for value in (one.rating_first, one.rating_second) if value is not None
    )
    about = Markup('<span class="td-sub td-about">mean ratings {}</span>').format(ratings) if ratings else ""
    answers = _answers(item) if item else Markup()
    name = Markup('<span class="td-opening">{}</span>{}').format(
        opening or f"Item {one.position + 1}", answers
    )
    certain = "–" if one.probability is None else sure(one.probability)
    return Entry((name, words + about, certain, f"{one.agreement:.0%}", one.people))


def _answers(item: StoredItem) -> Markup:
    parts = [("First answer", item.first), ("Second answer", item.second)]
    texts = Markup().join(
        Markup('<p class="td-answer-head">{}</p><div class="td-text">{}</div>').format(
            title, "\n\n".join(message["content"] for message in messages)
        )
        for title, messages in parts
        if messages
    )
    return Markup('<details class="td-sub"><summary>Answers</summary>{}</details>').format(texts)


def _pager(first: int, shown: int, total: int, asked: Mapping[str, str]) -> Markup:
    if total <= PAGE:
        return Markup()
    here = {key: value for key, value in asked.items() if key not in ("tab", "from", "__theme")}
    words = f"{first + 1:,} to {first + shown:,} of {total:,}"
    before, after = first - PAGE, first + PAGE
    previous = link("Previous", address("review", **here, **{"from": str(before + 1)})) if before >= 0 else ""
    following = link("Next", address("review", **here, **{"from": str(after + 1)})) if after < total else ""
    return Markup('<p class="td-pager td-sub">{} {} {}</p>').format(previous, words, following)
