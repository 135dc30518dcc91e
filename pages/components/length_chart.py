"""How long rows are, as bars drawn with HTML alone; the caption and a table say the same.

Bars beyond ``max_length`` are in the colour of a warning and hatched, so they differ without colour too.
"""

from __future__ import annotations

from markupsafe import Markup

from studio.training.preflight import Histogram


def length_chart(lengths: Histogram, most: int) -> Markup:
    """The bars of a histogram; ``most`` is the longest that a sequence may be."""
    if not lengths.counts:
        return Markup('<p class="td-sub">No row could be tokenised.</p>')
    highest = max(lengths.counts)
    bars = Markup().join(
        Markup('<span class="td-length-bar{}" style="--part: {:.4f}" title="{}"></span>').format(
            " td-length-over" if start > most else "",
            number / highest,
            _said(start, stop, number),
        )
        for start, stop, number in _bars(lengths)
    )
    over = " Bars beyond max_length are hatched." if lengths.longest > most else ""
    caption = (
        f"{lengths.shortest:,} to {lengths.longest:,} tokens a row, half of them up to {lengths.median:,}; "
        f"max_length is {most:,}.{over}"
    )
    return Markup(
        '<div class="td-length-bars" aria-hidden="true">{}</div>'
        '<div class="td-length-axis td-sub" aria-hidden="true"><span>{:,}</span><span>{:,} tokens</span>'
        "</div>"
        '<figcaption class="td-sub">{}</figcaption>{}'
    ).format(bars, lengths.edges[0], lengths.edges[-1], caption, _table(lengths))


def _bars(lengths: Histogram) -> list[tuple[int, int, int]]:
    return list(zip(lengths.edges[:-1], lengths.edges[1:], lengths.counts, strict=True))


def _said(start: int, stop: int, number: int) -> str:
    return f"{start:,} to {stop - 1:,} tokens: {number:,}"


def _table(lengths: Histogram) -> Markup:
    lines = Markup().join(
        Markup(
            '<tr><td data-label="Tokens">{:,} to {:,}</td><td class="td-num" data-label="Rows">{:,}</td></tr>'
        ).format(start, stop - 1, number)
        for start, stop, number in _bars(lengths)
        if number
    )
    return Markup(
        "<details><summary>As a table</summary>"
        '<table class="td-table"><thead><tr><th scope="col">Tokens</th>'
        '<th scope="col" class="td-num">Rows</th></tr></thead><tbody>{}</tbody></table></details>'
    ).format(lines)
