"""What a project's lead reads: how far it is, who needs help, each person's numbers, and pairs of people.

Every estimate stands with its interval and with how much it rests on; one that does not exist says why.
"""

from __future__ import annotations

from markupsafe import Markup

from pages.components.markup import link, note, tag
from pages.components.record_list import Column, Entry, record_list
from pages.components.wording import ago, count, duration, significant
from studio.annotation import ProjectState, Standing
from studio.annotation.review_records import Dashboard, Estimate, PairAgreement, PersonReport

STANDING_WORDS = {
    Standing.FIRST: "First answer",
    Standing.SECOND: "Second answer",
    Standing.TIE: "Tie",
    Standing.BOTH_BAD: "Both bad",
    Standing.ACCEPT: "Accepted",
    Standing.REJECT: "Rejected",
    Standing.EDITED: "Written anew",
    Standing.SKIP: "Skipped",
}

_PEOPLE = (
    Column("Person", "", "td-main", bare=True),
    Column("Labels", "", "td-num"),
    Column("Each takes", "", "td-num"),
    Column("Gold right", "", "td-num"),
    Column("Chose side A", "", "td-num"),
    Column("Repeats the same", "", "td-num"),
    Column("Agrees with others", "", "td-num"),
    Column("Last", "", "td-num"),
)
_PAIRS = (
    Column("Two people", "", "td-main", bare=True),
    Column("Cohen's kappa", "", "td-num"),
    Column("Items both labelled", "", "td-num"),
)
_MOST_PAIRS = 15


def overview(found: Dashboard, inbox: str) -> Markup:
    """The state in numbers, and what to do next; ``inbox`` is the address of the adjudication inbox."""
    return Markup('<div class="td-stack">{}{}{}</div>').format(
        _state(found), _figures(found, inbox), help_wanted(found)
    )


def _state(found: Dashboard) -> Markup:
    project = found.project
    if project.state is ProjectState.FAILED:
        return note(
            Markup("<strong>The project could not be prepared.</strong> {}").format(project.problem), "td-bad"
        )
    if project.state is ProjectState.PREPARING:
        return note(
            "Two models are writing its answers. The project opens by itself when they are done.", "td-busy"
        )
    return note(project.problem) if project.problem else Markup()


def _figures(found: Dashboard, inbox: str) -> Markup:
    part = min(found.labels / found.needed, 1.0) if found.needed else 0.0
    divided = link(f"{found.divided:,}", inbox) if found.divided else Markup("0")
    cells = (
        ("Labels", f"{found.labels:,}", f"of {found.needed:,} needed, {part:.0%}"),
        ("Items finished", f"{found.finished:,}", f"of {count(found.project.items, 'item')}"),
        ("Agreement", *_alpha(found.alpha)),
        ("To adjudicate", divided, f"{found.adjudicated:,} decided so far"),
        ("Skipped", f"{found.skips:,}", "set aside with a reason"),
    )
    figures = Markup().join(
        Markup("<div><dt>{}</dt><dd>{}</dd><dd class='td-sub'>{}</dd></div>").format(*cell) for cell in cells
    )
    bar = Markup(
        '<div class="td-bar" role="progressbar" aria-label="Labels" aria-valuemin="0" aria-valuemax="100" '
        'aria-valuenow="{:.0f}" style="--part: {:.4f}"></div>'
    ).format(part * 100, part)
    return Markup('<div>{}<dl class="td-figures">{}</dl>{}</div>').format(bar, figures, _standings(found))


def _alpha(alpha: Estimate) -> tuple[str, str]:
    if alpha.value is None:
        return "–", alpha.why
    span = f", {signed(alpha.interval.low)} to {signed(alpha.interval.high)}" if alpha.interval else ""
    return signed(alpha.value), f"alpha{span}; {count(alpha.count, 'item')}"


def _standings(found: Dashboard) -> Markup:
    given = [one for one in found.standings if one.standing is not Standing.SKIP and one.labels]
    words = ", ".join(f"{STANDING_WORDS[one.standing].lower()} {one.labels:,}" for one in given)
    return Markup('<p class="td-sub td-verdicts">Verdicts: {}.</p>').format(words) if given else Markup()


def sure(probability: float) -> str:
    """A probability in percent; nobody is entirely sure of an estimate."""
    return "over 99%" if 0.995 <= probability < 1.0 else f"{probability:.0%}"


def signed(value: float) -> str:
    """A coefficient with two digits and a minus that is one."""
    return f"{value:.2f}".replace("-", "\u2212")


def help_wanted(found: Dashboard) -> Markup:
    """Who needs help, in sentences; and that nobody does, where that is so."""
    lines = [
        Markup("<strong>{}</strong> {}").format(person.name, flag)
        for person in found.people
        for flag in person.flags
    ]
    if lines:
        return note(Markup("<strong>Who needs help</strong>"), "td-busy", lines)
    if not found.people:
        return note("Nobody has labelled anything yet.")
    return note("Nobody stands out: no one's numbers are worse than chance explains.", "td-good")


def people(found: Dashboard) -> Markup:
    """One line a person."""
    if not found.people:
        return Markup()
    rows = [_person(found.at, one) for one in found.people]
    table = record_list("People", _PEOPLE, rows, {})
    return Markup('<h2 class="td-title">People</h2><div class="td-scroll">{}</div>').format(table)


def _person(now: float, one: PersonReport) -> Entry:
    name = Markup("{} {}").format(one.name, tag("account erased") if one.erased else "")
    skipped = Markup('<span class="td-sub td-about">{} skipped</span>').format(one.skipped)
    labels = Markup("{:,}{}").format(one.labels, skipped if one.skipped else "")
    each = "–" if one.median_seconds is None else _seconds(one.median_seconds)
    shares = (one.gold, one.position, one.consistency, one.agreement)
    return Entry((name, labels, each, *(share(one) for one in shares), ago(one.last_at, now)))


def _seconds(seconds: float) -> str:
    return f"{significant(seconds, 2)} s" if seconds < 10 else duration(seconds)


def share(estimate: Estimate) -> Markup:
    """A share with its interval and what it rests on; a dash that says why where there is none."""
    if estimate.value is None:
        return Markup('<span class="td-sub" title="{}">–</span>').format(estimate.why)
    span = ""
    if estimate.interval is not None:
        span = f"{estimate.interval.low:.0%} to {estimate.interval.high:.0%}, "
    about = Markup('<span class="td-sub td-about">{}n = {:,}</span>').format(span, estimate.count)
    return Markup("{:.0%}{}").format(estimate.value, about)


def pairs(found: Dashboard) -> Markup:
    """How pairs of people agree beyond chance, those who agree least first."""
    known = [pair for pair in found.kappas if pair.kappa.value is not None]
    if not known:
        return Markup()
    known.sort(key=lambda pair: pair.kappa.value or 0.0)
    table = record_list("Pairs of people", _PAIRS, [_pair(pair) for pair in known[:_MOST_PAIRS]], {})
    more = len(known) - _MOST_PAIRS
    rest = Markup('<p class="td-sub">And {} that agree better.</p>').format(count(more, "pair"))
    return Markup(
        '<details class="td-pairs"><summary>Agreement of pairs of people</summary>{}{}</details>'
    ).format(table, rest if more > 0 else Markup())


def _pair(pair: PairAgreement) -> Entry:
    kappa = pair.kappa
    span = f" ({signed(kappa.interval.low)} to {signed(kappa.interval.high)})" if kappa.interval else ""
    return Entry(
        (f"{pair.first} and {pair.second}", f"{signed(kappa.value or 0.0)}{span}", f"{kappa.count:,}")
    )
