"""The rules that make pairs of verdicts: a pure function of judgements, thumbs and settings.

Verdicts on the same two answers to the same prompt are weighed together: the majority of those that
decide wins if it is large enough. What does not become a pair is counted with its reason. No answer is
taken that was cut off, failed, or judged by someone who knew the models' names.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from studio.core.lineage import Node
from studio.datasets.canonical import Row, RowError, canonical_json, check_answer, check_prompt, text_flaw
from studio.datasets.records import Candidate, Judgement, Message, Opinion, Outcome, PreferenceSettings

SKIPPED = "skipped"
NOT_BLIND = "the models' names were known before the verdict"
FAILED = "an answer failed"
CUT_OFF = "an answer was cut off at its length limit"
UNFINISHED = "an answer was not finished"
MALFORMED = "the prompt or an answer is empty or malformed"
SAME = "both answers are the same"
OLDER = "an older verdict by the same voter on the same two answers"
TIE = "a tie"
BOTH_BAD = "both answers bad (kept as unpaired rows)"
SPLIT_VOTE = "the votes are evenly divided"
TOO_LITTLE = "agreement below the minimum"
OVERRULED = "a better answer over one that the majority preferred"
BETTER_SAME = "a better answer that is no better: empty or the same as the one it mends"
THUMBS_DIVIDED = "unpaired: the opinions on an answer are evenly divided"

# What a backend says of an answer that is whole; rows of a dataset say nothing.
_WHOLE = ("", "stop")


@dataclass(frozen=True)
class Pair:
    """A preference row in the making, and the verdicts that it stands on."""

    prompt: str  # canonical JSON, as are the answers
    chosen: str
    rejected: str
    row: Row
    verdicts: tuple[Node, ...]

    @property
    def answers(self) -> tuple[str, frozenset[str]]:
        """What it is about, whichever answer is the better."""
        return self.prompt, frozenset((self.chosen, self.rejected))


@dataclass(frozen=True)
class Mark:
    """An unpaired row in the making."""

    row: Row
    verdicts: tuple[Node, ...]


@dataclass(frozen=True)
class Weighed:
    """What verdicts come to."""

    pairs: tuple[Pair, ...]
    marks: tuple[Mark, ...]
    left_out: Counter[str]


@dataclass(frozen=True)
class _Verdict:
    """A usable judgement with its texts in canonical form."""

    judgement: Judgement
    prompt: str
    a: str
    b: str

    @property
    def node(self) -> Node:
        return Node(self.judgement.kind, self.judgement.id)

    @property
    def group(self) -> tuple[str, frozenset[str]]:
        return self.prompt, frozenset((self.a, self.b))

    @property
    def winner(self) -> str | None:
        return {Outcome.A: self.a, Outcome.B: self.b}.get(self.judgement.outcome)

    @property
    def bad(self) -> tuple[str, ...]:
        """The answers that this voter judged bad."""
        losers = {Outcome.A: (self.b,), Outcome.B: (self.a,), Outcome.BOTH_BAD: (self.a, self.b)}
        return losers.get(self.judgement.outcome, ())

    def candidate(self, text: str) -> list[Message]:
        return _messages(self.judgement.a if text == self.a else self.judgement.b)


def settings_digest(settings: PreferenceSettings) -> str:
    """Which rules made a row: 16 hex digits."""
    return hashlib.sha256(canonical_json(asdict(settings)).encode()).hexdigest()[:16]


def weigh(
    judgements: Sequence[Judgement], opinions: Sequence[Opinion], settings: PreferenceSettings
) -> Weighed:
    """Make pairs and unpaired rows of verdicts; the order of what is handed in does not matter."""
    left_out: Counter[str] = Counter()
    groups = _groups(_usable(judgements, left_out), left_out)
    pairs: list[Pair] = []
    for group in groups:
        pairs += _pairs_of(group, settings, left_out)
    verdicts = [verdict for group in groups for verdict in group]
    marks = _marks(verdicts, _usable_opinions(opinions, left_out), settings, left_out)
    return Weighed(tuple(_merged(pairs)), tuple(marks), left_out)


def _usable(judgements: Iterable[Judgement], left_out: Counter[str]) -> list[_Verdict]:
    found = []
    for judgement in sorted(judgements, key=lambda judgement: (judgement.voted_at, judgement.id)):
        why = _why_not(judgement)
        if why:
            left_out[why] += 1
            continue
        a, b = (canonical_json(_messages(side)) for side in (judgement.a, judgement.b))
        found.append(_Verdict(judgement, canonical_json([dict(m) for m in judgement.prompt]), a, b))
    return found


def _why_not(judgement: Judgement) -> str:
    if judgement.outcome is Outcome.SKIP:
        return SKIPPED
    if not judgement.blind:
        return NOT_BLIND
    why = next(filter(None, map(_flaw, (judgement.a, judgement.b))), "") or _bad_prompt(judgement.prompt)
    if not why and _messages(judgement.a) == _messages(judgement.b):
        return SAME
    return why


def _flaw(answer: Candidate) -> str:
    if answer.error:
        return FAILED
    if answer.finish_reason == "length":
        return CUT_OFF
    if answer.finish_reason not in _WHOLE:
        return UNFINISHED
    try:
        check_answer(answer.messages, "answer")
    except RowError:
        return MALFORMED
    return ""


def _bad_prompt(prompt: Sequence[Message]) -> str:
    try:
        check_prompt(prompt, "prompt")
    except RowError:
        return MALFORMED
    return ""


def _messages(answer: Candidate) -> list[Message]:
    return [{"role": m["role"], "content": m["content"]} for m in answer.messages]


def _groups(verdicts: list[_Verdict], left_out: Counter[str]) -> list[list[_Verdict]]:
    """Verdicts on the same two answers to the same prompt, the newest of each voter."""
    newest: dict[tuple[object, str], _Verdict] = {}
    for verdict in verdicts:  # oldest first
        place = (verdict.group, verdict.judgement.voter)
        left_out[OLDER] += place in newest
        newest[place] = verdict
    groups: dict[object, list[_Verdict]] = defaultdict(list)
    for verdict in newest.values():
        groups[verdict.group].append(verdict)
    return list(groups.values())


def _pairs_of(group: list[_Verdict], settings: PreferenceSettings, left_out: Counter[str]) -> list[Pair]:
    deciding = [verdict for verdict in group if verdict.winner is not None]
    winner, agreement, why = _majority(deciding, settings.minimum_agreement)
    pairs = [] if winner is None else [_voted_pair(deciding, winner, agreement, settings)]
    for verdict in group:
        better = _better_pairs(verdict, winner, settings, left_out)
        pairs += better
        if not better and (reason := _reason(verdict, why)):
            left_out[reason] += 1
    return pairs


def _reason(verdict: _Verdict, why: str) -> str:
    """Why a verdict without a better answer made no pair; nothing where it counted for one."""
    if verdict.judgement.outcome is Outcome.TIE:
        return TIE
    return BOTH_BAD if verdict.judgement.outcome is Outcome.BOTH_BAD else why


def _majority(deciding: list[_Verdict], minimum: float) -> tuple[str | None, float, str]:
    """The winner, its share of the deciding votes, and else why there is none."""
    counts = Counter(verdict.winner for verdict in deciding).most_common()
    if not counts:
        return None, 0.0, ""
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        return None, 0.5, SPLIT_VOTE
    share = counts[0][1] / len(deciding)
    return (counts[0][0], share, "") if share >= minimum else (None, share, TOO_LITTLE)


def _voted_pair(
    deciding: list[_Verdict], winner: str, agreement: float, settings: PreferenceSettings
) -> Pair:
    first = deciding[0]
    loser = first.b if winner == first.a else first.a
    return _pair(deciding, first.candidate(winner), first.candidate(loser), agreement, settings)


def _better_pairs(
    verdict: _Verdict, majority: str | None, settings: PreferenceSettings, left_out: Counter[str]
) -> list[Pair]:
    """The voter's own better answer over each answer that this voter judged bad."""
    text = verdict.judgement.better_answer
    if not settings.use_better_answers or not text.strip():
        return []
    better: list[Message] = [{"role": "assistant", "content": text}]
    pairs = []
    for bad in verdict.bad:
        rejected = verdict.candidate(bad)
        if bad == majority:
            left_out[OVERRULED] += 1
        elif text_flaw(text) or text.strip() == rejected[-1]["content"].strip():
            left_out[BETTER_SAME] += 1
        else:
            pairs.append(_pair([verdict], better, rejected, 1.0, settings))
    return pairs


def _pair(
    verdicts: list[_Verdict],
    chosen: list[Message],
    rejected: list[Message],
    agreement: float,
    settings: PreferenceSettings,
) -> Pair:
    nodes = tuple(sorted(verdict.node for verdict in verdicts))
    row: Row = {
        "prompt": [dict(message) for message in verdicts[0].judgement.prompt],
        "chosen": chosen,
        "rejected": rejected,
        "votes": [node.id for node in nodes],
        "agreement": agreement,
        "builder": settings_digest(settings),
    }
    return Pair(verdicts[0].prompt, canonical_json(chosen), canonical_json(rejected), row, nodes)


def _merged(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs that say the same (two voters wrote one better answer) as one that stands on all their votes."""
    found: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        place = (pair.prompt, pair.chosen, pair.rejected)
        if place in found:
            nodes = tuple(sorted({*found[place].verdicts, *pair.verdicts}))
            row = {**found[place].row, "votes": [node.id for node in nodes]}
            pair = replace(found[place], row=row, verdicts=nodes)  # noqa: PLW2901
        found[place] = pair
    return list(found.values())


def _usable_opinions(opinions: Iterable[Opinion], left_out: Counter[str]) -> list[Opinion]:
    newest: dict[tuple[str, str, str], Opinion] = {}
    for opinion in sorted(opinions, key=lambda opinion: (opinion.at, opinion.id)):
        why = _flaw(opinion.answer) or _bad_prompt(opinion.prompt)
        if why:
            left_out[f"unpaired: {why}"] += 1
            continue
        prompt = canonical_json([dict(m) for m in opinion.prompt])
        newest[(prompt, canonical_json(_messages(opinion.answer)), opinion.voter)] = opinion
    return list(newest.values())


def _marks(
    verdicts: Iterable[_Verdict],
    opinions: Iterable[Opinion],
    settings: PreferenceSettings,
    left_out: Counter[str],
) -> list[Mark]:
    """Unpaired rows of thumbs and of verdicts that called both answers bad; the majority decides."""
    said: dict[tuple[str, str], list[tuple[bool, Node]]] = defaultdict(list)
    rows: dict[tuple[str, str], Row] = {}

    def add(prompt: Sequence[Message], answer: Candidate, label: bool, node: Node) -> None:
        row: Row = {"prompt": [dict(message) for message in prompt], "completion": _messages(answer)}
        place = (canonical_json(row["prompt"]), canonical_json(row["completion"]))
        rows[place] = row
        said[place].append((label, node))

    for verdict in verdicts:
        if verdict.judgement.outcome is Outcome.BOTH_BAD:
            for side in (verdict.judgement.a, verdict.judgement.b):
                add(verdict.judgement.prompt, side, False, verdict.node)
    for opinion in opinions:
        add(opinion.prompt, opinion.answer, opinion.positive, Node(opinion.kind, opinion.id))
    return [mark for place, row in rows.items() if (mark := _mark(row, said[place], settings, left_out))]


def _mark(
    row: Row, said: list[tuple[bool, Node]], settings: PreferenceSettings, left_out: Counter[str]
) -> Mark | None:
    good = sum(label for label, _ in said)
    if good * 2 == len(said):
        left_out[THUMBS_DIVIDED] += 1
        return None
    nodes = tuple(sorted({node for _, node in said}))
    share = max(good, len(said) - good) / len(said)
    extra = {"votes": [n.id for n in nodes], "agreement": share, "builder": settings_digest(settings)}
    return Mark({**row, "label": good * 2 > len(said), **extra}, nodes)
