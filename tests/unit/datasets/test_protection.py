"""What models and people are measured with never comes among the rows that a build trains on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Actor, Forbidden, InvalidInput, Node, Role, SharingChange, Visibility
from studio.core.access import Access
from studio.datasets import (
    DatasetService,
    DatasetVersion,
    ImportRequest,
    NewVersion,
    PreferenceSettings,
    SchemaKind,
    Split,
)
from studio.datasets.canonical import prompt_key
from studio.datasets.parquet_files import read_rows
from studio.datasets.protection import PROTECTED
from tests.unit.datasets.conftest import Room, instruction, preference, user
from tests.unit.datasets.test_preferences import judged, thumb

REX = Actor("rex", Role.RESEARCHER)


def make(
    datasets: DatasetService, name: str, train: list[dict], held_out: list[dict] = (), **more: bool
) -> DatasetVersion:
    kind = SchemaKind.PREFERENCE if "chosen" in [*train, *held_out][0] else SchemaKind.INSTRUCTION
    rows = {Split.TRAIN: list(train), Split.VALIDATION: list(held_out)}
    return datasets.create(LOCAL_ADMIN, NewVersion(name, kind, rows, ({"step": "test"},)), **more)


@pytest.fixture
def exam(datasets: DatasetService) -> DatasetVersion:
    """A version whose validation rows an evaluation was run on."""
    made = make(
        datasets, "exam", [instruction("open", "a")], [instruction(f"Exam {n}", "a") for n in range(12)]
    )
    datasets.protect(LOCAL_ADMIN, made.id, Split.VALIDATION, "evaluation")
    return made


def trained_on(version: DatasetVersion) -> set[str]:
    return {prompt_key(row) for row in read_rows(version.file(Split.TRAIN))}


def test_a_build_is_refused_with_which_and_why(datasets: DatasetService, exam: DatasetVersion) -> None:
    rows = [instruction(f" exam  {n}", "other") for n in range(12)]
    with pytest.raises(InvalidInput) as refused:
        make(datasets, "new", [instruction("fine", "a"), *rows])
    assert "12 prompts of new" in refused.value.message
    assert len(refused.value.details) == 11
    assert refused.value.details[0] == "'exam 0': evaluation (exam@1)"
    assert refused.value.details[-1] == "and 2 more"
    assert [summary.name for summary in datasets.list(LOCAL_ADMIN)] == ["exam"]


def test_they_can_be_left_out(datasets: DatasetService, exam: DatasetVersion) -> None:
    rows = [instruction("EXAM 3", "other"), instruction("fine", "a")]
    made = make(datasets, "new", rows, leave_out_protected=True)
    assert trained_on(made) == {"fine"}
    assert made.steps[-1] == {"step": "leave out protected prompts", "rows": 1}
    with pytest.raises(InvalidInput, match="no rows"):
        make(datasets, "newer", rows[:1], leave_out_protected=True)


def test_held_out_they_may_stay_and_other_splits_are_free(
    datasets: DatasetService, exam: DatasetVersion
) -> None:
    made = make(datasets, "new", [instruction("open", "b")], [instruction("exam 1", "b")])
    assert made.total_rows == 2


def test_a_bad_row_is_still_an_error_of_its_own(datasets: DatasetService, exam: DatasetVersion) -> None:
    with pytest.raises(InvalidInput, match="not usable"):
        make(datasets, "new", [{"messages": None}, {"nothing": 1}])


def test_a_join_refuses_or_leaves_out(
    datasets: DatasetService, exam: DatasetVersion, jsonl: Callable[..., Path]
) -> None:
    path = jsonl([{"instruction": f"Exam {n}", "input": "", "output": "x"} for n in range(3)])
    mine = datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "mine", validation_fraction=0)).version
    rest = make(datasets, "rest", [instruction("fine", "a")])
    with pytest.raises(InvalidInput) as refused:
        datasets.join(LOCAL_ADMIN, "all", (mine.id, rest.id))
    assert sorted(refused.value.details) == [f"'exam {n}': evaluation (exam@1)" for n in range(3)]
    made = datasets.join(LOCAL_ADMIN, "all", (mine.id, rest.id), leave_out_protected=True)
    assert trained_on(made) == {"fine"}
    assert made.steps[0]["protected_left_out"] == 3
    # Joined with the version that holds them out, they are held out and nothing is refused.
    both = datasets.join(LOCAL_ADMIN, "both", (mine.id, exam.id))
    assert not {key for key in trained_on(both) if key.startswith("exam")}


def test_verdicts_on_them_become_no_training_pairs(room: Room) -> None:
    datasets = room.datasets
    gold = make(datasets, "gold", [preference("gold 1", "a", "b")])
    datasets.protect(LOCAL_ADMIN, gold.id, None, "gold")
    verdicts = [judged("a", "gold 1"), judged("a", "fine")]
    marks = [thumb(True, "Gold 1"), thumb(True, "fine")]
    rules = PreferenceSettings(validation_fraction=0)

    def build(**more: bool) -> object:
        return datasets.build_preferences(LOCAL_ADMIN, "prefs", verdicts, marks, rules, **more)

    with pytest.raises(InvalidInput) as refused:
        build()
    assert refused.value.details == ("'gold 1': gold (gold@1)",)
    assert [summary.name for summary in datasets.list(LOCAL_ADMIN)] == ["gold"]
    made = build(leave_out_protected=True)
    assert trained_on(made.version) == {"fine"}
    assert trained_on(made.unpaired) == {"fine"}
    assert {left.why: left.count for left in made.report.left_out}[PROTECTED] == 2
    assert (made.report.pairs, made.report.unpaired) == (1, 1)
    used = {edge.parent.id for edge in room.lineage.parents(Node("dataset_version", made.version.id))}
    assert used == {verdicts[1].id}


def test_an_import_is_warned_and_not_refused(
    room: Room, exam: DatasetVersion, jsonl: Callable[..., Path]
) -> None:
    path = jsonl([{"instruction": text, "input": "", "output": "x"} for text in ("Exam 1", "exam 2", "fine")])
    request = ImportRequest(path, "mine", validation_fraction=0)
    made = room.datasets.import_file(LOCAL_ADMIN, request)
    assert made.report.protected_rows == 2
    report = room.datasets.report(LOCAL_ADMIN, made.version.id)
    assert report is not None
    assert report.protected_rows == 2
    held_out = room.datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "held", validation_fraction=1))
    assert held_out.report.protected_rows == 0


def test_an_import_by_a_job_counts_them_too(
    room: Room, exam: DatasetVersion, jsonl: Callable[..., Path]
) -> None:
    path = jsonl([{"instruction": text, "input": "", "output": "x"} for text in ("Exam 1", "fine")])
    job = room.datasets.start_import(LOCAL_ADMIN, ImportRequest(path, "mine", validation_fraction=0))
    room.jobs.wait(LOCAL_ADMIN, job.id, 120)
    result = room.datasets.import_result(LOCAL_ADMIN, job.id)
    assert result is not None
    assert result.report.protected_rows == 1


def test_protecting_again_changes_nothing_and_asks_for_the_role(room: Room, exam: DatasetVersion) -> None:
    room.datasets.protect(LOCAL_ADMIN, exam.id, Split.VALIDATION, "evaluation")
    room.datasets.protect(LOCAL_ADMIN, exam.id, Split.VALIDATION, "gold")
    found = room.datasets.protected(LOCAL_ADMIN, ["exam 1", "open"])
    assert found == {"exam 1": ("evaluation (exam@1)", "gold (exam@1)")}
    assert [entry.verb for entry in room.audit.recent(LOCAL_ADMIN)].count("protected") == 2
    with pytest.raises(Forbidden):
        room.datasets.protect(Actor("ann", Role.ANNOTATOR), exam.id, None, "gold")


def test_a_private_exam_protects_without_its_name(room: Room, exam: DatasetVersion) -> None:
    access = Access(room.database, room.audit)
    access.share(LOCAL_ADMIN, Node("dataset", exam.dataset_id), SharingChange(Visibility.PRIVATE))
    rows = {Split.TRAIN: [instruction("exam 1", "x")]}
    with pytest.raises(InvalidInput) as refused:
        room.datasets.create(REX, NewVersion("mine", SchemaKind.INSTRUCTION, rows, ()))
    assert refused.value.details == ("'exam 1': evaluation (a private dataset)",)


def test_the_opening_counts_as_the_prompt(datasets: DatasetService, exam: DatasetVersion) -> None:
    longer = {
        "messages": [
            *instruction("Exam 5", "a")["messages"],
            user("and?"),
            {"role": "assistant", "content": "b"},
        ]
    }
    with pytest.raises(InvalidInput, match="1 prompt of new"):
        make(datasets, "new", [longer])
