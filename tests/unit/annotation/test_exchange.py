"""Exports, preference versions and imports with everything real behind them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.annotation import (
    ItemKind,
    Members,
    NewLabel,
    NewProject,
    Project,
    ProjectState,
    Standing,
    Task,
    Verdict,
)
from studio.annotation.exchange_pairs import PairRules
from studio.annotation.items import seen_from
from studio.annotation.review_records import ImportedLabels, NewAdjudication
from studio.core import Conflict, Database, Forbidden, InvalidInput, Node, NotFound, Settings
from studio.datasets import DatasetVersion, NewVersion, SchemaKind, Split
from tests.unit.annotation.review_parts import ANA, BEN, CAT, GUEST, LEAD, Office, open_office

FIRST, SECOND, TIE, BOTH_BAD, SKIP = (
    Standing.FIRST,
    Standing.SECOND,
    Standing.TIE,
    Standing.BOTH_BAD,
    Standing.SKIP,
)


@pytest.fixture
def office(database: Database, home: Path, settings: Settings) -> Office:
    return open_office(database, home, settings)


def rows_of(office: Office, version: DatasetVersion) -> dict[str, dict]:
    found = [row for split in Split for row in office.datasets.page(LEAD, version.id, split, 0, 100).rows]
    return {f"{row['prompt'][0]['content']}|{row['chosen'][0]['content']}": row for row in found}


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def agreed(office: Office, **given) -> Project:
    project = office.open(**given)
    office.labels(ANA, project, {0: FIRST, 1: SECOND, 2: FIRST, 3: TIE, 4: BOTH_BAD})
    office.labels(BEN, project, {0: FIRST, 1: SECOND, 2: SECOND, 3: TIE, 4: BOTH_BAD})
    return project


def test_labels_go_out_in_every_format(office: Office, tmp_path: Path) -> None:
    project = agreed(office)
    office.labels(CAT, project, {5: SKIP}, reason="=unclear")
    paths = {
        form: office.exchange.export(LEAD, project.id, "labels", form, tmp_path / "out")
        for form in ("jsonl", "parquet", "csv")
    }
    lines = lines_of(paths["jsonl"])
    assert len(lines) == 11
    assert lines == pq.read_table(paths["parquet"]).to_pylist()
    with paths["csv"].open(newline="") as handle:
        cells = list(csv.DictReader(handle))
    assert [row["standing"] for row in cells] == [row["standing"] for row in lines]
    assert cells[-1]["reason"] == "'=unclear"
    said = {(row["annotator"], row["prompt"][0]["content"]): row for row in lines}
    one = said["ana", office.prompt(project, 0)]
    assert (one["standing"], one["first"][0]["content"]) == ("first", "First 0.")
    assert one["verdict"] == one["first_side"]


def test_consensus_goes_out_with_decisions(office: Office, tmp_path: Path) -> None:
    project = agreed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    office.review.adjudicate(LEAD, NewAdjudication(project.id, shown.item_id, "n", Verdict.TIE))
    lines = lines_of(office.exchange.export(LEAD, project.id, "consensus", "jsonl", tmp_path))
    assert [line["standing"] for line in lines] == ["first", "second", "tie", "tie", "both_bad"]
    assert [line["adjudicated"] for line in lines] == [False, False, True, False, False]
    assert lines[2]["adjudicator"] == "lea"
    assert all(len(line["label_ids"]) == 2 for line in lines)


def test_an_export_is_for_leads(office: Office, tmp_path: Path) -> None:
    project = agreed(office, members=Members(people=("ana",)))
    for actor in (ANA, GUEST):
        with pytest.raises(Forbidden):
            office.exchange.export(actor, project.id, "labels", "csv", tmp_path)
        with pytest.raises(Forbidden):
            office.exchange.preferences(actor, project.id, "mine")
        with pytest.raises(Forbidden):
            office.exchange.import_labels(actor, project.id, tmp_path / "x.csv")
    for what, form in (("votes", "csv"), ("labels", "xlsx"), ("../labels", "csv")):
        with pytest.raises(InvalidInput):
            office.exchange.export(LEAD, project.id, what, form, tmp_path)
    assert list(tmp_path.glob("*.csv")) == []


def test_nothing_to_export_leaves_no_file(office: Office, tmp_path: Path) -> None:
    project = office.open()
    with pytest.raises(InvalidInput, match="no labels"):
        office.exchange.export(LEAD, project.id, "labels", "jsonl", tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))


def test_preferences_are_the_consensus_with_its_lineage(office: Office) -> None:
    project = agreed(office)
    version = office.exchange.preferences(LEAD, project.id, "judged")
    rows = rows_of(office, version)
    assert {key.split("|")[1] for key in rows} == {"First 0.", "Second 1."}
    assert all(row["agreement"] == 1.0 and len(row["votes"]) == 2 for row in rows.values())
    node = Node("dataset_version", version.id)
    edges = office.lineage.parents(node)
    assert {edge.parent.id for edge in edges if edge.relation == "judged_by"} == {
        vote for row in rows.values() for vote in row["votes"]
    }
    assert Node("dataset_version", project.dataset_version_id) in [edge.parent for edge in edges]
    for vote in rows[f"{office.prompt(project, 0)}|First 0."]["votes"]:
        assert node in office.lineage.descendants(Node("label", vote))
    step = version.steps[0]
    assert step["left_out"] == {
        "a tie": 1,
        "both answers bad": 1,
        "the consensus is less probable than asked for": 1,
    }
    assert office.exchange.preferences(LEAD, project.id, "judged").id == version.id


def test_an_adjudicator_decides_the_pair(office: Office) -> None:
    project = agreed(office)
    shown = office.review.inbox(LEAD, project.id)[0]
    verdict = Verdict.B if shown.first_side == "a" else Verdict.A
    made = office.review.adjudicate(LEAD, NewAdjudication(project.id, shown.item_id, "n", verdict))
    version = office.exchange.preferences(LEAD, project.id, "judged")
    row = rows_of(office, version)[f"{office.prompt(project, 2)}|Second 2."]
    assert (row["votes"], row["agreement"]) == ([made.id], 1.0)
    # The decision leads back to the labels that it was about.
    assert {
        n.id for n in (e.parent for e in office.lineage.ancestors(Node("dataset_version", version.id)))
    } >= {entry.label.id for entry in office.annotation.store.standing(project.id) if entry.position == 2}


def test_better_answers_stand_over_what_their_writers_judged_bad(office: Office) -> None:
    project = office.open()
    office.labels(ANA, project, {0: FIRST}, better_answer="By ana.")
    office.labels(BEN, project, {0: FIRST}, better_answer="By ben.")
    office.labels(ANA, project, {1: BOTH_BAD}, better_answer="Much better.")
    office.labels(BEN, project, {1: BOTH_BAD})
    office.labels(ANA, project, {2: FIRST}, better_answer=" Second 2. ")
    office.labels(BEN, project, {2: FIRST})
    pairs = {
        (row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows_of(office, office.exchange.preferences(LEAD, project.id, "judged")).values()
    }
    assert pairs >= {("First 0.", "Second 0."), ("By ana.", "Second 0."), ("By ben.", "Second 0.")}
    # Both rejected answers make a pair; rows_of keeps one of them, so they are counted in the version.
    version = office.datasets.version(LEAD, "judged")
    assert version.total_rows == 6
    plain = office.exchange.preferences(LEAD, project.id, "plain", PairRules(use_better_answers=False))
    assert plain.total_rows == 2


def test_a_better_answer_never_beats_the_winner(office: Office) -> None:
    project = office.open(overlap=3)
    office.labels(ANA, project, {0: FIRST})
    office.labels(BEN, project, {0: FIRST})
    office.labels(CAT, project, {0: SECOND}, better_answer="Mine.")
    version = office.exchange.preferences(LEAD, project.id, "judged", PairRules(minimum_probability=0.0))
    row = next(iter(rows_of(office, version).values()))
    assert (row["chosen"][0]["content"], version.total_rows) == ("First 0.", 1)
    assert row["agreement"] == pytest.approx(2 / 3)
    assert len(row["votes"]) == 3


def test_skips_gold_and_repeats_never_become_pairs(office: Office) -> None:
    gold_rows = [
        {
            "prompt": [{"role": "user", "content": f"Gold {n}?"}],
            "chosen": [{"role": "assistant", "content": "Right."}],
            "rejected": [{"role": "assistant", "content": "Wrong."}],
        }
        for n in range(6)
    ]
    rows = {Split.TRAIN: [], Split.VALIDATION: gold_rows}
    gold = office.datasets.create(LEAD, NewVersion("gold", SchemaKind.PREFERENCE, rows, ()))
    project = office.open(items=30, overlap=1, gold=gold.id, gold_every=4, repeat_every=5)
    for n in range(34):
        item = office.annotation.next_items(ANA, project.id, 1)[0]
        stored = {one.id: one for one in office.annotation.store.items(project.id)}.get(item.id)
        said = SKIP if n == 3 else FIRST
        if stored is None:  # a repeat has an id of its own
            stored = next(o for o in office.annotation.store.items(project.id) if o.prompt == item.prompt)
        side = "a" if item.a == stored.first else "b"
        reason = {"reason": "unclear"} if said is SKIP else {}
        office.annotation.label(ANA, NewLabel(project.id, item.id, f"n{n}", seen_from(said, side), **reason))
    kinds = {entry.kind for entry in office.annotation.store.standing(project.id)}
    assert kinds == {ItemKind.DATA, ItemKind.GOLD, ItemKind.REPEAT}
    version = office.exchange.preferences(LEAD, project.id, "judged")
    rows = rows_of(office, version)
    assert not any("Gold" in key for key in rows)
    data = {
        entry.label.id
        for entry in office.annotation.store.standing(project.id)
        if entry.kind is ItemKind.DATA and entry.standing is not SKIP
    }
    assert {vote for row in rows.values() for vote in row["votes"]} == data
    found = office.review.dashboard(LEAD, project.id).people[0]
    assert found.gold.value == 1.0
    assert found.consistency.value == 1.0


def test_no_pair_says_what_was_left_out(office: Office) -> None:
    project = office.open()
    office.labels(ANA, project, {0: TIE})
    with pytest.raises(InvalidInput) as caught:
        office.exchange.preferences(LEAD, project.id, "judged")
    assert caught.value.details == ("1 left out: a tie",)
    accepts = office.annotation.open_project(LEAD, NewProject("fit", task=Task.ACCEPT, dataset="pairs"))
    with pytest.raises(InvalidInput, match="prefers none"):
        office.exchange.preferences(LEAD, accepts.id, "judged")


def test_written_answers_become_pairs(office: Office) -> None:
    project = office.open(task=Task.EDIT)
    office.labels(ANA, project, {0: Standing.EDITED}, better_answer="Rewritten.")
    office.labels(BEN, project, {0: Standing.ACCEPT})
    version = office.exchange.preferences(LEAD, project.id, "edits")
    row = next(iter(rows_of(office, version).values()))
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Rewritten.", "First 0.")


def test_a_protected_prompt_is_refused_or_left_out(office: Office) -> None:
    project = agreed(office)
    office.datasets.protect(LEAD, project.dataset_version_id, Split.TRAIN, "evaluation")
    with pytest.raises(InvalidInput):
        office.exchange.preferences(LEAD, project.id, "judged")


def test_an_export_of_preferences_holds_no_protected_prompt(office: Office, tmp_path: Path) -> None:
    project = agreed(office)
    rows = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in sides(office, project)]
    exam = NewVersion("exam", SchemaKind.PREFERENCE, {Split.VALIDATION: rows[:1]}, ())
    exam_id = office.datasets.create(LEAD, exam).id
    whole = len(lines_of(office.exchange.export(LEAD, project.id, "preferences", "jsonl", tmp_path)))
    office.datasets.protect(LEAD, exam_id, None, "evaluation")
    for form in ("jsonl", "parquet", "csv"):
        target = tmp_path / form
        with pytest.raises(InvalidInput, match="measured with them") as refused:
            office.exchange.export(LEAD, project.id, "preferences", form, target)
        assert refused.value.details[0].endswith("evaluation (exam@1)")
        assert not target.exists()
    path = office.exchange.export(
        LEAD, project.id, "preferences", "jsonl", tmp_path, leave_out_protected=True
    )
    kept = {line["prompt"][0]["content"] for line in lines_of(path)}
    assert len(lines_of(path)) == whole - 1
    assert rows[0]["prompt"][0]["content"] not in kept
    # What people said is theirs to read, whatever is protected.
    assert len(lines_of(office.exchange.export(LEAD, project.id, "labels", "jsonl", tmp_path))) == 10


def sides(office: Office, project: Project) -> list[dict]:
    version = office.datasets.version(LEAD, project.dataset_version_id)
    return list(office.datasets.page(LEAD, version.id, Split.TRAIN, 0, 100).rows)


# Imports


def put(tmp_path: Path, rows: list[dict], name: str = "labels.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(n: int) -> dict[str, object]:
    return {"prompt": f"Question {n}?", "first": f"First {n}.", "second": f"Second {n}."}


def bring(office: Office, project: Project, path: Path) -> ImportedLabels:
    return office.exchange.import_labels(LEAD, project.id, path)


def test_an_export_comes_back_in_every_format(office: Office, tmp_path: Path) -> None:
    project = agreed(office)
    office.labels(CAT, project, {5: SKIP}, reason="=unclear", comment="-1")
    again = office.annotation.open_project(
        LEAD, NewProject("Second round", dataset=project.dataset_version_id, overlap=2)
    )
    ids = {item.position: item.id for item in office.annotation.store.items(again.id)}
    before = {
        (e.label.annotator, e.position): (e.standing, e.label.reason, e.label.comment, e.label.labelled_at)
        for e in office.annotation.store.standing(project.id)
    }
    for form in ("jsonl", "parquet", "csv"):
        path = office.exchange.export(LEAD, project.id, "labels", form, tmp_path)
        rename = tmp_path / f"foreign-{form}.jsonl"
        assert ids
        if form == "jsonl":
            # Items of another project have other ids; without them the texts name the item.
            rows = [{k: v for k, v in row.items() if k != "item_id"} for row in lines_of(path)]
            rename.write_text("".join(json.dumps(row) + "\n" for row in rows))
            found = bring(office, again, rename)
            assert (found.added, found.rejected, found.ignored) == (11, (), ())
        else:
            found = bring(office, project, path)
            assert found.added == 0
            assert {one.why for one in found.rejected} == {
                f"{name} has a label on this item already" for name in ("ana", "ben", "cat")
            }
    after = {
        (e.label.annotator, e.position): (e.standing, e.label.reason, e.label.comment, e.label.labelled_at)
        for e in office.annotation.store.standing(again.id)
    }
    assert after == before
    assert {e.label.origin for e in office.annotation.store.standing(again.id)} == {"import"}


def test_a_csv_export_comes_back_with_its_formulas(office: Office, tmp_path: Path) -> None:
    rows = [
        {
            "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "=1+1"}],
            "chosen": [{"role": "assistant", "content": "-2"}],
            "rejected": [{"role": "assistant", "content": "@three"}],
        }
    ]
    version = office.datasets.create(
        LEAD, NewVersion("odd", SchemaKind.PREFERENCE, {Split.TRAIN: rows, Split.VALIDATION: []}, ())
    )
    one, two = (
        office.annotation.open_project(LEAD, NewProject(name, dataset=version.id)) for name in ("one", "two")
    )
    office.labels(ANA, one, {0: SECOND}, comment="=A1")
    path = office.exchange.export(LEAD, one.id, "labels", "csv", tmp_path)
    with path.open(newline="") as handle:
        table = list(csv.DictReader(handle))
    bare = tmp_path / "bare.csv"
    names = [name for name in table[0] if name != "item_id"]
    with bare.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    assert bring(office, two, bare) == ImportedLabels(1, ())
    entry = office.annotation.store.standing(two.id)[0]
    assert (entry.standing, entry.label.comment) == (SECOND, "=A1")


def test_pairs_judged_elsewhere(office: Office, tmp_path: Path) -> None:
    project = office.open()
    rows = [
        {"prompt": "Question 0?", "chosen": "Second 0.", "rejected": "First 0.", "annotator": "zoe"},
        {
            "prompt": "Question 1?",
            "chosen": "First 1.",
            "rejected": "Second 1.",
            "annotator": "zoe",
            "strength": 2,
        },
        {
            "prompt": "Question 2?",
            "first": "First 2.",
            "second": "Second 2.",
            "standing": "tie",
            "annotator": "zoe",
        },
    ]
    found = bring(office, project, put(tmp_path, rows))
    assert (found.added, found.rejected) == (3, ())
    entries = office.annotation.store.standing(project.id)
    assert [entry.standing for entry in entries] == [SECOND, FIRST, TIE]
    assert office.annotation.progress(LEAD, project.id).left == 9
    for entry in entries:
        assert office.lineage.parents(Node("label", entry.label.id))[0].parent == Node(
            "dataset_version", project.dataset_version_id
        )
    assert len(office.annotation.judgements(LEAD, project.id)) == 3


def test_every_bad_row_is_named(office: Office, tmp_path: Path) -> None:
    project = office.open()
    ids = {item.position: item.id for item in office.annotation.store.items(project.id)}
    good = {"item_id": ids[0], "standing": "first", "annotator": "zoe"}
    bad: list[tuple[dict | str, str, str]] = [
        ({**good, "item_id": "item_none"}, "item_id", "no item of this project"),
        ({**good, "annotator": ""}, "annotator", "is missing"),
        ({**good, "annotator": "studio"}, "annotator", "own name"),
        ({**good, "annotator": "a\nb"}, "annotator", "cannot be printed"),
        ({**good, "standing": "best"}, "standing", "is none of first, second, tie, both_bad, skip"),
        ({**good, "standing": ["first"]}, "standing", "is none of"),
        ({"item_id": ids[1], "annotator": "zoe"}, "standing", "is missing"),
        ({**good, "strength": 9}, "strength", "from 1 to 3"),
        ({**good, "strength": True}, "strength", "is not a number"),
        ({**good, "strength": 1, "standing": "tie"}, "strength", "first or second alone"),
        ({**good, "rating_first": 3}, "rating_first", "nothing is rated"),
        ({**good, "labelled_at": "yesterday"}, "labelled_at", "ISO 8601"),
        ({**good, "labelled_at": 1e18}, "labelled_at", "not 0 to"),
        ({**good, "active_seconds": -1}, "active_seconds", "not 0 to"),
        ({**good, "comment": 5}, "comment", "is not text"),
        ({**good, "comment": "x" * 30_000}, "comment", "characters"),
        ({**good, "kind": "gold"}, "kind", "no data item"),
        ({"prompt": "Nobody asked", "first": "a", "second": "b", "annotator": "zoe"}, "prompt", "no item"),
        ({"annotator": "zoe", "standing": "first"}, "prompt", "there is no item_id"),
        ({"prompt": 3, "chosen": "a", "rejected": "b", "annotator": "zoe"}, "prompt", "not a list"),
        ("{broken", "", "not JSON"),
        ('{"annotator": NaN}', "annotator", "NaN"),
    ]
    lines = [json.dumps(row) if isinstance(row, dict) else row for row, _, _ in bad]
    path = tmp_path / "bad.jsonl"
    path.write_text(
        "\n".join(
            [*lines, json.dumps(good), json.dumps(good), json.dumps({**good, "mood": 1, "annotator": "yan"})]
        )
    )
    found = bring(office, project, path)
    assert found.added == 2
    assert found.ignored == ("mood",)
    assert [one.row for one in found.rejected] == [*range(1, len(bad) + 1), len(bad) + 2]
    for one, (_, field, why) in zip(found.rejected, bad, strict=False):
        assert (one.field, why in one.why) == (field, True), one
    assert found.rejected[-1].why == f"zoe labels this item in row {len(bad) + 1} already"


def test_an_import_never_supersedes(office: Office, tmp_path: Path) -> None:
    project = office.open()
    given = office.labels(ANA, project, {0: FIRST})[0]
    row = {"item_id": given.item_id, "standing": "second", "annotator": "ana"}
    found = bring(office, project, put(tmp_path, [row]))
    assert (found.added, found.rejected[0].field) == (0, "annotator")
    assert [e.label.id for e in office.annotation.store.standing(project.id)] == [given.id]


def test_ratings_come_in(office: Office, tmp_path: Path) -> None:
    project = office.open(task=Task.RATING)
    rows = [
        {
            "prompt": "Question 0?",
            "first": "First 0.",
            "second": "Second 0.",
            "rating_first": 5,
            "rating_second": 2,
        },
        {
            "prompt": "Question 1?",
            "first": "First 1.",
            "second": "Second 1.",
            "rating_first": "1",
            "rating_second": 4.0,
        },
        {**texts(2), "rating_first": 5},
        {
            "prompt": "Question 3?",
            "first": "First 3.",
            "second": "Second 3.",
            "rating_first": 5,
            "rating_second": 2.5,
        },
        {
            "prompt": "Question 4?",
            "first": "First 4.",
            "second": "Second 4.",
            "standing": "tie",
            "rating_first": 5,
            "rating_second": 2,
        },
    ]
    found = bring(office, project, put(tmp_path, [{**row, "annotator": "zoe"} for row in rows]))
    assert (found.added, [one.field for one in found.rejected]) == (
        2,
        ["rating_second", "rating_second", "standing"],
    )
    agreed = office.review.consensus(LEAD, project.id)
    assert [(one.standing, one.rating_first, one.rating_second) for one in agreed] == [
        (FIRST, 5, 2),
        (SECOND, 1, 4),
    ]


def test_an_imported_person_cannot_be_told_to_prefer_a_side(office: Office, tmp_path: Path) -> None:
    project = office.open(items=20)
    ids = [item.id for item in office.annotation.store.items(project.id)]
    rows = [{"item_id": item, "standing": "first", "annotator": "zoe"} for item in ids]
    bring(office, project, put(tmp_path, rows))
    zoe = office.review.dashboard(LEAD, project.id).people[0]
    assert (zoe.labels, zoe.position.value, zoe.median_seconds, zoe.flags) == (20, None, None, ())


def test_files_that_may_not_be_read(office: Office, settings: Settings, tmp_path: Path) -> None:
    project = office.open()
    roots = settings.model_copy(update={"import_roots": str(tmp_path / "allowed")})
    (tmp_path / "allowed").mkdir()
    path = put(tmp_path, [{"annotator": "zoe"}])
    narrow = type(office.exchange)(
        office.database, office.annotation.store, office.datasets, office.audit, roots
    )
    with pytest.raises(Forbidden):
        narrow.import_labels(LEAD, project.id, path)
    link = tmp_path / "allowed" / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(Forbidden):
        narrow.import_labels(LEAD, project.id, link)
    for name, content in (("x.txt", "words"), ("x.exe", "MZ"), ("x.jsonl", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(InvalidInput):
            bring(office, project, tmp_path / name)
    with pytest.raises(InvalidInput):
        bring(office, project, tmp_path / "none.csv")
    with pytest.raises(NotFound):
        office.exchange.import_labels(LEAD, "project_none", path)


def test_a_project_that_is_not_ready_takes_no_labels(office: Office, tmp_path: Path) -> None:
    project = office.open()
    office.annotation.store.set_state(project.id, ProjectState.PREPARING)
    with pytest.raises(Conflict):
        bring(office, project, put(tmp_path, [{"annotator": "zoe"}]))


def test_a_parquet_file_comes_in(office: Office, tmp_path: Path) -> None:
    project = office.open()
    rows = [{"prompt": "Question 0?", "chosen": "First 0.", "rejected": "Second 0.", "annotator": "zoe"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    assert bring(office, project, tmp_path / "labels.parquet").added == 1
