"""A project at a glance, put together from its labels: a pure function, so that it can be tested as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from studio.annotation.consensus import by_position, disagree
from studio.annotation.records import Entry, ItemKind, Project, ProjectState, Standing, Task
from studio.annotation.review_agreement import alpha, alpha_over_time, kappas
from studio.annotation.review_people import reports
from studio.annotation.review_records import Adjudication, Dashboard, DayCount, StandingCount
from studio.annotation.verdict_table import counted, verdict_table

_DAY = 86_400.0


def dashboard(
    project: Project,
    entries: Sequence[Entry],
    firsts: Sequence[Entry],
    adjudications: Sequence[Adjudication],
    truths: Mapping[int, Standing],
    at: float,
) -> Dashboard:
    """What there is to know of a project.

    Args:
        project: The project.
        entries: Its standing labels of every kind.
        firsts: The first answers by which people are scored.
        adjudications: The decision that counts of each item.
        truths: The known verdict of gold items, by position.
        at: Now, in seconds since the epoch.
    """
    data = [entry for entry in entries if entry.kind is ItemKind.DATA]
    usable = counted(project.task, data)
    table = verdict_table(project.task, usable)
    votes = by_position(usable)
    decided = {one.position for one in adjudications}
    standings = Counter(entry.standing for entry in data)
    return Dashboard(
        project=project,
        at=at,
        labels=len(usable),
        needed=project.items * project.overlap,
        finished=sum(len(found) >= project.overlap for found in votes.values()),
        skips=standings[Standing.SKIP],
        divided=len(divided(project, votes, decided)),
        adjudicated=len(decided),
        standings=tuple(StandingCount(one, standings[one]) for one in Standing if standings[one]),
        days=_days(usable),
        people=reports(project.task, entries, firsts, table, truths),
        scale=table.scale.value,
        alpha=alpha(project.task, table),
        alpha_over_time=alpha_over_time(project.task, table),
        kappas=kappas(project.task, table),
    )


def divided(project: Project, votes: Mapping[int, Sequence[Entry]], decided: set[int]) -> list[int]:
    """Positions of finished items on which people do not agree and that nobody has decided.

    An item of an open project that still lacks labels may yet be labelled by someone who must not see
    the others' first.
    """
    if project.task is Task.EDIT:
        return []  # two texts by two people are no disagreement
    enough = enough_labels(project, at_least=2)
    return [
        position
        for position, found in votes.items()
        if position not in decided and len(found) >= enough and disagree(found)
    ]


def enough_labels(project: Project, at_least: int) -> int:
    """How many labels an item needs before anybody may look at them together."""
    return at_least if project.state is ProjectState.CLOSED else max(at_least, project.overlap)


def _days(usable: Sequence[Entry]) -> tuple[DayCount, ...]:
    counts = Counter(entry.label.labelled_at // _DAY * _DAY for entry in usable)
    total = 0
    found = []
    for start in sorted(counts):
        total += counts[start]
        found.append(DayCount(start, counts[start], total))
    return tuple(found)
