"""Verdicts become pairs by the rules, and everything else is counted with its reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, Node
from studio.datasets import (
    Candidate,
    DatasetService,
    Judgement,
    NewVersion,
    Opinion,
    Outcome,
    PreferenceResult,
    PreferenceSettings,
    SchemaKind,
    Split,
)
from studio.datasets.canonical import prompt_key
from studio.datasets.pairing import weigh
from studio.datasets.parquet_files import read_rows
from tests.unit.datasets.conftest import Room, assistant, preference, user

RULES = PreferenceSettings(validation_fraction=0)
_numbers = itertools.count()


def answer(text: str, **more: str) -> Candidate:
    return Candidate((assistant(text),), **more)


def judged(
    outcome: str, question: str = "q", a: str = "x", b: str = "y", voter: str = "v", **more: object
) -> Judgement:
    number = next(_numbers)
    made = Judgement(
        kind="vote",
        id=f"vote_{number:06}",
        prompt=(user(question),),
        a=answer(a),
        b=answer(b),
        outcome=Outcome(outcome),
        voter=voter,
        voted_at=float(number),
        blind=True,
    )
    return replace(made, **more)


def thumb(positive: bool, question: str = "q", text: str = "x", voter: str = "v") -> Opinion:
    number = next(_numbers)
    return Opinion(
        "thumb", f"thumb_{number:06}", (user(question),), answer(text), positive, voter, float(number)
    )


def build(
    datasets: DatasetService,
    judgements: list[Judgement],
    opinions: list[Opinion] = (),
    rules: PreferenceSettings = RULES,
    join: tuple[str, ...] = (),
) -> PreferenceResult:
    return datasets.build_preferences(LOCAL_ADMIN, "prefs", judgements, opinions, rules, join)


def rows(version, split: Split = Split.TRAIN) -> list[dict]:
    return list(read_rows(version.file(split)))


def reasons(result: PreferenceResult) -> dict[str, int]:
    return {left.why: left.count for left in result.report.left_out}


def bare(row: dict) -> dict:
    return {name: row[name] for name in ("prompt", "chosen", "rejected")}


def test_a_vote_becomes_a_pair_that_leads_back_to_it(room: Room) -> None:
    votes = [judged("a"), judged("b", "r")]
    result = build(room.datasets, votes)
    made = {str(bare(row)): row for row in rows(result.version)}
    assert set(made) == {str(preference("q", "x", "y")), str(preference("r", "y", "x"))}
    row = made[str(preference("q", "x", "y"))]
    assert row["votes"] == [votes[0].id] and row["agreement"] == 1.0 and len(row["builder"]) == 16
    assert (result.report.judgements, result.report.pairs, result.report.left_out) == (2, 2, ())
    edges = room.lineage.parents(Node("dataset_version", result.version.id))
    assert {(edge.parent, edge.relation) for edge in edges} == {
        (Node("vote", vote.id), "judged_by") for vote in votes
    }
    assert result.unpaired is None
    assert result.version.steps[0]["report"]["pairs"] == 2


def test_what_never_becomes_a_pair_is_counted_with_its_reason(datasets: DatasetService) -> None:
    result = build(
        datasets,
        [
            judged("a"),
            judged("tie", "tie"),
            judged("both_bad", "bad"),
            judged("skip", "skip"),
            judged("a", "seen", blind=False),
            replace(judged("a", "cut"), b=answer("long", finish_reason="length")),
            replace(judged("a", "err"), a=answer("x", error="boom")),
            replace(judged("a", "gone"), a=answer("x", finish_reason="cancelled")),
            judged("a", "alike", a="same", b="same"),
            judged("a", "empty", b="  "),
        ],
    )
    assert result.report.pairs == 1 and result.report.judgements == 10
    assert sum(reasons(result).values()) == 9
    assert reasons(result)["an answer was cut off at its length limit"] == 1
    assert reasons(result)["the models' names were known before the verdict"] == 1
    assert [bare(row) for row in rows(result.version)] == [preference("q", "x", "y")]


def test_both_bad_and_thumbs_are_unpaired(room: Room) -> None:
    up = thumb(True, "t", "nice")
    bad = judged("both_bad", "bad", "m", "n")
    result = build(
        room.datasets, [judged("a"), bad], [up, thumb(True, "d", "x", "v1"), thumb(False, "d", "x", "v2")]
    )
    made = {
        (row["prompt"][0]["content"], row["completion"][0]["content"]): row for row in rows(result.unpaired)
    }
    assert {place: row["label"] for place, row in made.items()} == {
        ("t", "nice"): True,
        ("bad", "m"): False,
        ("bad", "n"): False,
    }
    assert result.unpaired.name == "prefs-unpaired" and result.unpaired.kind is SchemaKind.UNPAIRED
    assert result.report.unpaired == 3
    parents = {edge.parent for edge in room.lineage.parents(Node("dataset_version", result.unpaired.id))}
    assert parents == {Node("vote", bad.id), Node("thumb", up.id)}
    assert "unpaired: the opinions on an answer are evenly divided" in reasons(result)


class TestMajority:
    def test_votes_on_one_pair_of_texts_count_together_whatever_their_sides(
        self, datasets: DatasetService
    ) -> None:
        votes = [
            judged("a", voter="1"),
            judged("b", a="y", b="x", voter="2"),
            judged("b", voter="3"),
            judged("tie", voter="4"),
        ]
        result = build(datasets, votes)
        (row,) = rows(result.version)
        assert bare(row) == preference("q", "x", "y")
        assert row["agreement"] == pytest.approx(2 / 3) and row["votes"] == [vote.id for vote in votes[:3]]
        assert reasons(result) == {"a tie": 1}

    def test_an_even_vote_and_too_little_agreement_make_no_pair(self, datasets: DatasetService) -> None:
        even = [judged("a", "even", voter="1"), judged("b", "even", voter="2")]
        little = [judged(o, "little", voter=str(n)) for n, o in enumerate("aab")]
        rules = replace(RULES, minimum_agreement=0.7)
        result = build(datasets, [judged("a"), *even, *little], rules=rules)
        assert result.report.pairs == 1
        assert reasons(result) == {"agreement below the minimum": 3, "the votes are evenly divided": 2}

    def test_one_voter_counts_once_with_the_newest_verdict(self, datasets: DatasetService) -> None:
        result = build(datasets, [judged("a"), judged("a"), judged("b")])
        (row,) = rows(result.version)
        assert bare(row) == preference("q", "y", "x") and row["agreement"] == 1.0
        assert reasons(result) == {"an older verdict by the same voter on the same two answers": 2}


class TestBetterAnswers:
    def test_over_each_answer_that_was_judged_bad(self, datasets: DatasetService) -> None:
        result = build(
            datasets,
            [
                judged("a", better_answer="best"),
                judged("both_bad", "bad", better_answer="good"),
                judged("tie", "tie", better_answer="unused"),
            ],
        )
        made = [bare(row) for row in rows(result.version)]
        expected = [
            preference("q", "x", "y"),
            preference("q", "best", "y"),
            preference("bad", "good", "x"),
            preference("bad", "good", "y"),
        ]
        assert sorted(map(str, made)) == sorted(map(str, expected))
        assert reasons(result) == {"a tie": 1}

    def test_not_over_what_the_majority_preferred_nor_over_itself(self, datasets: DatasetService) -> None:
        votes = [judged("a", voter="1"), judged("a", voter="2"), judged("b", voter="3", better_answer="best")]
        result = build(datasets, [*votes, judged("a", "same", better_answer=" y ")])
        assert result.report.pairs == 2
        assert reasons(result)["a better answer over one that the majority preferred"] == 1

    def test_two_voters_who_write_the_same_make_one_row(self, datasets: DatasetService) -> None:
        votes = [judged("both_bad", voter=str(n), better_answer="best") for n in range(2)]
        result = build(datasets, votes)
        assert [row["votes"] for row in rows(result.version)] == [[votes[0].id, votes[1].id]] * 2

    def test_they_can_be_left_alone(self, datasets: DatasetService) -> None:
        rules = replace(RULES, use_better_answers=False)
        assert build(datasets, [judged("a", better_answer="best")], rules=rules).report.pairs == 1


class TestJoined:
    def imported(self, datasets: DatasetService, train: list, validation: list = (), name: str = "imported"):
        sides = {Split.TRAIN: list(train), Split.VALIDATION: list(validation)}
        return datasets.create(LOCAL_ADMIN, NewVersion(name, SchemaKind.PREFERENCE, sides, (), licence="CC0"))

    def test_joined_pairs_keep_their_side_and_decide_that_of_new_ones(self, room: Room) -> None:
        parent = self.imported(room.datasets, [preference("t", "1", "2")], [preference("h", "1", "2")])
        result = build(
            room.datasets,
            [judged("a", "T"), judged("a", "H"), judged("a", "new")],
            rules=replace(RULES, validation_fraction=0.9),
            join=("imported",),
        )
        sides = {
            split: {row["prompt"][0]["content"] for row in rows(result.version, split)} for split in Split
        }
        assert {"t", "T"} <= sides[Split.TRAIN] and {"h", "H"} <= sides[Split.VALIDATION]
        assert preference("t", "1", "2") in rows(result.version)
        assert (result.report.pairs, result.report.joined_pairs) == (5, 2)
        assert result.version.parents == (parent.id,) and result.version.licence == "CC0"
        edges = room.lineage.parents(Node("dataset_version", result.version.id))
        assert (Node("dataset_version", parent.id), "derived_from") in {(e.parent, e.relation) for e in edges}

    def test_duplicates_go_once_and_contradictions_not_at_all(self, datasets: DatasetService) -> None:
        self.imported(
            datasets, [preference("q", "x", "y"), preference("r", "y", "x"), preference("s", "1", "2")]
        )
        self.imported(datasets, [preference("s", "1", "2"), preference("u", "1", "2")], name="more")
        vote = judged("a")
        result = build(datasets, [vote, judged("a", "r")], join=("imported", "more"))
        made = rows(result.version)
        assert sorted(str(bare(row)) for row in made) == sorted(
            map(str, [preference("q", "x", "y"), preference("s", "1", "2"), preference("u", "1", "2")])
        )
        assert [row["votes"] for row in made if "votes" in row] == [[vote.id]]
        assert reasons(result) == {
            "a joined pair that is there already": 2,
            "two pairs that contradict each other (neither is used)": 2,
        }

    def test_what_is_held_out_in_one_parent_is_held_out(self, datasets: DatasetService) -> None:
        self.imported(datasets, [preference("q", "1", "2")])
        self.imported(datasets, [preference("z", "1", "2")], [preference("Q", "3", "4")], name="more")
        result = build(datasets, [], join=("imported", "more"))
        assert {row["prompt"][0]["content"] for row in rows(result.version, Split.VALIDATION)} == {"q", "Q"}

    def test_only_preferences(self, datasets: DatasetService) -> None:
        datasets.create(
            LOCAL_ADMIN, NewVersion("corpus", SchemaKind.CORPUS, {Split.TRAIN: [{"text": "x"}]}, ())
        )
        with pytest.raises(InvalidInput, match="Only preference versions"):
            build(datasets, [judged("a")], join=("corpus",))


def test_no_pair_is_an_error_with_the_whole_report(datasets: DatasetService) -> None:
    with pytest.raises(InvalidInput, match="No pair remains") as caught:
        build(datasets, [judged("tie"), judged("both_bad", "r"), judged("skip", "s")], [thumb(True)])
    assert caught.value.details == (
        "3 judgements were looked at, 3 unpaired rows would come of them",
        "1 left out: a tie",
        "1 left out: both answers bad (kept as unpaired rows)",
        "1 left out: skipped",
    )
    assert datasets.list(LOCAL_ADMIN) == ()


def test_the_same_verdicts_in_any_order_are_the_same_version(datasets: DatasetService) -> None:
    votes = [judged("a", f"q{n}", voter=f"v{n % 3}") for n in range(20)]
    rules = PreferenceSettings(validation_fraction=0.2)
    first = build(datasets, votes, [thumb(False, "t")], rules)
    again = build(datasets, votes[::-1], [thumb(False, "t")], rules)
    assert again.version.id == first.version.id and first.version.rows[Split.VALIDATION] == 4
    other = build(datasets, votes, rules=replace(rules, minimum_agreement=0.9))
    assert other.version.id != first.version.id


def test_nothing_is_made_where_the_name_holds_other_rows(datasets: DatasetService) -> None:
    taken = NewVersion("prefs-unpaired", SchemaKind.CORPUS, {Split.TRAIN: [{"text": "x"}]}, ())
    datasets.create(LOCAL_ADMIN, taken)
    with pytest.raises(Conflict):
        build(datasets, [judged("a"), judged("both_bad", "r")])
    assert len(datasets.list(LOCAL_ADMIN)) == 1


JUDGEMENTS = st.lists(
    st.builds(
        judged,
        st.sampled_from([o.value for o in Outcome]),
        st.sampled_from(["q", "Q", "r", "s"]),
        st.sampled_from("wxy"),
        st.sampled_from("wxy"),
        st.sampled_from("123"),
        blind=st.booleans(),
        better_answer=st.sampled_from(["", "x", "best"]),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(JUDGEMENTS, st.floats(0.5, 1))
def test_pairs_come_of_blind_decisions_only_and_every_verdict_is_accounted_for(
    judgements: list[Judgement], minimum: float
) -> None:
    weighed = weigh(judgements, (), replace(RULES, minimum_agreement=minimum))
    by_id = {judgement.id: judgement for judgement in judgements}
    used: set[str] = set()
    for pair in weighed.pairs:
        assert pair.chosen != pair.rejected and pair.row["agreement"] >= minimum
        for node in pair.verdicts:
            used.add(node.id)
            assert by_id[node.id].blind and by_id[node.id].outcome not in (Outcome.SKIP, Outcome.TIE)
            assert list(by_id[node.id].prompt) == pair.row["prompt"]
    about_answers = {"a better answer over one that the majority preferred"}
    about_answers.add("a better answer that is no better: empty or the same as the one it mends")
    left = sum(count for why, count in weighed.left_out.items() if why not in about_answers)
    assert left + len(used) == len(judgements)


@settings(max_examples=60, deadline=None)
@given(JUDGEMENTS, st.floats(0, 1), st.integers(0, 3))
def test_no_prompt_is_on_both_sides(judgements: list[Judgement], fraction: float, seed: int) -> None:
    from studio.datasets.preferences import _divide

    made = [pair.row for pair in weigh(judgements, (), RULES).pairs]
    sides = _divide(made, {"q": Split.VALIDATION}, PreferenceSettings(fraction, seed))
    keys = {split: {prompt_key(row) for row in sides[split]} for split in Split}
    assert not keys[Split.TRAIN] & keys[Split.VALIDATION]
    assert "q" not in keys[Split.TRAIN]
