"""Imports from real files: what is kept, what is set aside, and what is refused; at once and by a job."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    NotFound,
    Role,
    Settings,
    StudioError,
    TooLarge,
)
from studio.datasets import ColumnMap, DatasetService, ImportRequest, SchemaKind, SourceFormat, Split
from studio.jobs import Job, JobState
from tests.unit.datasets.conftest import Room, assistant, instruction, open_room, user

Writer = Callable[..., Path]


def alpaca(count: int) -> list[object]:
    return [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(count)]


def upload(home: Path, place: str, rows: list[object]) -> Path:
    path = home / "uploads" / place / "rows.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def all_rows(datasets: DatasetService, version_id: str) -> list[dict]:
    pages = [datasets.page(LOCAL_ADMIN, version_id, split, 0, 1000) for split in Split]
    return [row for page in pages for row in page.rows]


def test_a_good_file_becomes_a_version(room: Room, jsonl: Writer) -> None:
    path = jsonl(alpaca(20))
    result = room.datasets.import_file(
        LOCAL_ADMIN, ImportRequest(path, "help", licence="CC0", description="From the desk.")
    )
    version = result.version
    assert (version.reference, version.kind, version.total_rows) == ("help@1", SchemaKind.INSTRUCTION, 20)
    assert version.rows == {Split.TRAIN: 18, Split.VALIDATION: 2}
    assert (result.report.accepted_rows, result.report.rejected_rows, result.report.rejects_path) == (
        20,
        0,
        None,
    )
    expected = [instruction(f"question {n}", f"answer {n}") for n in range(20)]
    assert sorted(map(json.dumps, all_rows(room.datasets, version.id))) == sorted(map(json.dumps, expected))
    assert version.steps[0]["source"] == "rows.jsonl" and version.steps[1]["fraction"] == 0.1
    assert sorted(p.name for p in version.directory.iterdir()) == ["train.parquet", "validation.parquet"]
    assert room.datasets.list(LOCAL_ADMIN)[0].description == "From the desk."
    entry = room.audit.recent(LOCAL_ADMIN)[0]
    assert (entry.verb, entry.target.id) == ("imported", version.id)
    with pytest.raises(NotFound):
        room.datasets.rejects(LOCAL_ADMIN, version.id)


def test_every_bad_row_is_set_aside_with_its_number_field_and_reason(
    datasets: DatasetService, tmp_path: Path
) -> None:
    lines = [
        '{"instruction": "q1", "output": "a1"}',
        '{"instruction": "q2", "output": NaN}',
        '{"instruction": "q3", "output": ""}',
        "{broken",
        '{"instruction": "q1", "output": "a1"}',
        '{"instruction": "q6", "output": "\\ud83d"}',
        '{"instruction": "q7", "output": "a7"}',
        '{"instruction": "q8", "output": "nul \\u0000"}',
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    request = ImportRequest(path, "help", SourceFormat.ALPACA, validation_fraction=0)
    result = datasets.import_file(LOCAL_ADMIN, request)
    assert result.report.accepted_rows == 2 and result.report.rejected_rows == 6
    assert [(row.row, row.field) for row in result.report.rejected] == [
        (2, "output"),
        (3, "output"),
        (4, ""),
        (5, ""),
        (6, "output"),
        (8, "output"),
    ]
    kept = [
        json.loads(line) for line in datasets.rejects(LOCAL_ADMIN, result.version.id).read_text().splitlines()
    ]
    assert [line["row"] for line in kept] == [2, 3, 4, 5, 6, 8]
    assert kept[0]["original"] == lines[1] and kept[1]["original"] == {"instruction": "q3", "output": ""}
    assert kept[2]["original"] == "{broken" and kept[3]["why"] == "is the same as row 1"
    assert datasets.report(LOCAL_ADMIN, "help@1") == result.report
    assert result.version.steps[0]["rejected_rows"] == 6


def test_the_digest_depends_on_rows_not_on_order_or_file_type(
    datasets: DatasetService, tmp_path: Path
) -> None:
    rows = alpaca(30)
    files = {
        "a.jsonl": "\n".join(map(json.dumps, rows)),
        "b.json": json.dumps(rows[::-1], indent=2),
        "c.csv": "output,instruction\n" + "".join(f"{r['output']},{r['instruction']}\n" for r in rows),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet", row_group_size=7, compression="gzip")
    versions = [
        datasets.import_file(LOCAL_ADMIN, ImportRequest(tmp_path / name, f"set {name[0]}")).version
        for name in (*files, "d.parquet")
    ]
    assert len({version.digest for version in versions}) == 1
    other = datasets.import_file(LOCAL_ADMIN, ImportRequest(tmp_path / "a.jsonl", "seeded", seed=1)).version
    assert other.digest != versions[0].digest


def test_the_same_content_again_is_the_same_version(datasets: DatasetService, jsonl: Writer) -> None:
    first = datasets.import_file(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(5)), "help"))
    again = datasets.import_file(
        LOCAL_ADMIN, ImportRequest(jsonl([*alpaca(5), {"instruction": "", "output": ""}]), "help")
    )
    assert again.version.id == first.version.id and first.report.rejects_path is None
    assert again.report.rejected_rows == 1 and again.report.rejects_path.read_text().count("\n") == 1
    more = datasets.import_file(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(6)), "help"))
    assert more.version.reference == "help@2"
    assert [v.number for v in datasets.versions(LOCAL_ADMIN, "help")] == [2, 1]
    assert datasets.version(LOCAL_ADMIN, "help").number == 2
    assert datasets.version(LOCAL_ADMIN, "help@1") == first.version
    assert datasets.list(LOCAL_ADMIN)[0].versions == 2


def test_unsure_columns_need_a_map(datasets: DatasetService, jsonl: Writer) -> None:
    path = jsonl([{"question": "q", "answer": "a", "id": 1}])
    with pytest.raises(InvalidInput, match="not clear") as caught:
        datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "help"))
    assert "prompt = question" in caught.value.details[1]
    mapping = ColumnMap({"prompt": "question", "completion": "answer"})
    for request in (
        ImportRequest(path, "by map", mapping=mapping),
        ImportRequest(path, "by format", format=SourceFormat.PROMPT_COMPLETION),
        ImportRequest(path, "by both", SourceFormat.PROMPT_COMPLETION, mapping),
    ):
        version = datasets.import_file(LOCAL_ADMIN, request).version
        assert all_rows(datasets, version.id) == [instruction("q", "a")]
        assert version.steps[0]["unused_columns"] == ["id"]


def test_a_map_that_does_not_fit_the_file_is_refused(datasets: DatasetService, jsonl: Writer) -> None:
    path = jsonl([{"question": "q", "answer": "a"}])
    for mapping in (
        ColumnMap({"prompt": "question", "completion": "nope"}),
        ColumnMap({"prompt": "question"}),
    ):
        with pytest.raises(InvalidInput):
            datasets.import_file(
                LOCAL_ADMIN, ImportRequest(path, "x", SourceFormat.PROMPT_COMPLETION, mapping)
            )
    assert datasets.list(LOCAL_ADMIN) == ()


def test_a_file_without_a_usable_row_makes_nothing(
    datasets: DatasetService, jsonl: Writer, settings: Settings
) -> None:
    path = jsonl([{"instruction": "q", "output": ""}] * 3)
    with pytest.raises(InvalidInput, match="None of the 3 rows") as caught:
        datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "x", SourceFormat.ALPACA))
    assert caught.value.details[0] == "row 1, output: is empty"
    assert datasets.list(LOCAL_ADMIN) == ()
    assert not list((settings.home / "datasets" / ".staging").iterdir())


def reject_file(error: StudioError) -> Path:
    return Path(error.todo.partition("set aside: ")[2])


def test_where_every_row_is_bad_all_of_them_are_kept_and_counted(
    datasets: DatasetService, jsonl: Writer, home: Path
) -> None:
    path = jsonl([{"instruction": f"q {n}", "output": ""} for n in range(5000)])
    with pytest.raises(InvalidInput, match="None of the 5000 rows") as caught:
        datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "x", SourceFormat.ALPACA))
    assert len(caught.value.details) == 21 and caught.value.details[-1] == "and 4,980 more"
    kept = reject_file(caught.value)
    assert kept.parent == home / "datasets" / "rejected"
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 5001))
    assert lines[-1]["original"] == {"instruction": "q 4999", "output": ""}


def test_a_failed_import_without_bad_rows_names_no_reject_file(
    datasets: DatasetService, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InvalidInput) as caught:
        datasets.import_file(LOCAL_ADMIN, ImportRequest(tmp_path / "empty.jsonl", "x", SourceFormat.ALPACA))
    assert "set aside" not in str(caught.value)
    assert not (home / "datasets" / "rejected").exists()


def test_a_dataset_holds_rows_of_one_kind(datasets: DatasetService, jsonl: Writer) -> None:
    datasets.import_file(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(2)), "help"))
    with pytest.raises(Conflict, match="instruction rows"):
        datasets.import_file(LOCAL_ADMIN, ImportRequest(jsonl([{"text": "a"}]), "help"))


@pytest.mark.parametrize("name", ["", "a@1", "../x", "a/b", " a", "x" * 81, "a\0"])
def test_names_that_mean_something_else_are_refused(
    datasets: DatasetService, jsonl: Writer, name: str
) -> None:
    with pytest.raises(InvalidInput, match="cannot be called"):
        datasets.import_file(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(2)), name))


def test_text_becomes_a_corpus(datasets: DatasetService, tmp_path: Path) -> None:
    path = tmp_path / "guide.md"
    path.write_text("\n\n".join(f"# Part {n}\n\n" + "word " * 300 for n in range(10)))
    version = datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "guide")).version
    assert version.kind is SchemaKind.CORPUS and version.rows[Split.VALIDATION] == 1


class TestWhatMayBeRead:
    def test_a_file_over_the_limit(self, database: Database, home: Path, tmp_path: Path) -> None:
        room = open_room(Settings(_env_file=None, home=home, max_upload_mb=1), database)
        path = tmp_path / "big.jsonl"
        path.write_bytes(b"x" * (1 << 20) + b"xx")
        for call in (
            lambda: room.datasets.inspect(LOCAL_ADMIN, path),
            lambda: room.datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "x")),
        ):
            with pytest.raises(TooLarge, match=r"big\.jsonl"):
                call()

    def test_only_files_below_the_roots_wherever_a_link_stands(
        self, database: Database, home: Path, tmp_path: Path
    ) -> None:
        inside, outside = tmp_path / "inside", tmp_path / "outside"
        for place in (inside, outside):
            place.mkdir()
            (place / "a.jsonl").write_text(json.dumps({"text": "hello"}))
        (inside / "link.jsonl").symlink_to(outside / "a.jsonl")
        (outside / "link.jsonl").symlink_to(inside / "a.jsonl")
        (tmp_path / "inside-not").mkdir()
        (tmp_path / "inside-not" / "a.jsonl").write_text(json.dumps({"text": "hello"}))
        room = open_room(Settings(_env_file=None, home=home, import_roots=str(inside)), database)
        refused = (outside / "a.jsonl", inside / "link.jsonl", inside / ".." / "outside" / "a.jsonl")
        for path in (*refused, tmp_path / "inside-not" / "a.jsonl"):
            with pytest.raises(Forbidden):
                room.datasets.inspect(LOCAL_ADMIN, path)
        uploads = home / "uploads"
        uploads.mkdir()
        (uploads / "a.jsonl").write_text(json.dumps({"text": "hello"}))
        for path in (inside / "a.jsonl", outside / "link.jsonl", uploads / "a.jsonl"):
            assert room.datasets.inspect(LOCAL_ADMIN, path).format is SourceFormat.TEXT

    def test_only_regular_files(self, datasets: DatasetService, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jsonl")
        (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
        for name in ("pipe.jsonl", "loop.jsonl", "nothing.jsonl", "."):
            with pytest.raises(InvalidInput):
                datasets.inspect(LOCAL_ADMIN, tmp_path / name)

    def test_roles(self, datasets: DatasetService, jsonl: Writer) -> None:
        annotator, stakeholder = Actor("ann", Role.ANNOTATOR), Actor("sam", Role.STAKEHOLDER)
        request = ImportRequest(jsonl(alpaca(3)), "help")
        with pytest.raises(Forbidden):
            datasets.import_file(annotator, request)
        version = datasets.import_file(Actor("rae", Role.RESEARCHER), request).version
        assert version.created_by == "rae"
        assert (
            datasets.page(annotator, version.id, Split.TRAIN, 0, 5).total
            == 3 - version.rows[Split.VALIDATION]
        )
        for call in (lambda: datasets.list(stakeholder), lambda: datasets.prompts(annotator, version.id)):
            with pytest.raises(Forbidden):
                call()


class TestByJob:
    @pytest.fixture
    def large(self, database: Database, home: Path) -> Room:
        room = open_room(Settings(_env_file=None, home=home, import_inline_mb=0), database)
        yield room
        room.jobs.close()

    def test_a_large_file_is_imported_by_a_job_to_the_same_version(
        self, large: Room, datasets: DatasetService, jsonl: Writer
    ) -> None:
        path = jsonl([*alpaca(50), {"instruction": "", "output": "x"}])
        by_job = large.datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "by job"))
        inline = datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "inline"))
        assert by_job.version.digest == inline.version.digest
        assert by_job.version.steps == inline.version.steps
        assert by_job.report.rejected == inline.report.rejected
        assert (
            large.datasets.rejects(LOCAL_ADMIN, "by job").read_text()
            == inline.report.rejects_path.read_text()
        )
        assert [job.kind for job in large.jobs.list(LOCAL_ADMIN)] == ["import"]

    def test_a_failure_is_the_same_error_as_inline(self, large: Room, jsonl: Writer) -> None:
        path = jsonl([{"instruction": "q", "output": ""}])
        request = ImportRequest(path, "x", SourceFormat.ALPACA)
        with pytest.raises(InvalidInput, match="None of the 1 rows") as caught:
            large.datasets.import_file(LOCAL_ADMIN, request)
        assert caught.value.details == ("row 1, output: is empty",)
        job = large.jobs.list(LOCAL_ADMIN)[0]
        assert job.state is JobState.FAILED
        with pytest.raises(InvalidInput) as again:
            large.datasets.import_result(LOCAL_ADMIN, job.id)
        assert again.value.todo == caught.value.todo
        assert json.loads(reject_file(again.value).read_text())["row"] == 1

    def test_a_job_is_settled_once_whoever_sees_it_first(self, large: Room, jsonl: Writer) -> None:
        job = large.datasets.start_import(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(5)), "x"))
        assert large.datasets.import_result(LOCAL_ADMIN, job.id) is None
        done = large.jobs.wait(LOCAL_ADMIN, job.id, 60)
        for _ in range(2):
            large.datasets.settle((done,))
        result = large.datasets.import_result(LOCAL_ADMIN, job.id)
        assert result.version.reference == "x@1" and len(large.datasets.versions(LOCAL_ADMIN, "x")) == 1
        with pytest.raises(NotFound):
            large.datasets.import_result(LOCAL_ADMIN, "job_nothing")

    def test_what_a_job_made_survives_a_database_that_is_locked_for_a_while(
        self, large: Room, jsonl: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = large.datasets.start_import(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(50)), "many"))
        done = large.jobs.wait(LOCAL_ADMIN, job.id, 60)

        def locked(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database is locked")

        with monkeypatch.context() as broken:
            broken.setattr("studio.datasets.store.insert", locked)
            with pytest.raises(sqlite3.OperationalError):
                large.datasets.settle((done,))
        assert large.datasets.list(LOCAL_ADMIN) == ()
        large.datasets.settle_again()
        assert large.datasets.version(LOCAL_ADMIN, "many").total_rows == 50

    def test_a_job_that_ended_while_the_studio_was_down_is_settled_at_its_start(
        self, large: Room, jsonl: Writer, settings: Settings, database: Database
    ) -> None:
        job = large.datasets.start_import(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(5)), "x"))
        large.jobs.wait(LOCAL_ADMIN, job.id, 60)
        assert large.datasets.list(LOCAL_ADMIN) == ()
        later = open_room(settings, database)
        assert later.datasets.version(LOCAL_ADMIN, "x").total_rows == 5

    @pytest.mark.parametrize("output", ["a", ""])
    def test_an_upload_of_its_own_goes_when_its_job_is_settled(
        self, large: Room, home: Path, output: str
    ) -> None:
        path = upload(home, "up_1", [{"instruction": "q", "output": output}])
        request = ImportRequest(path, "x", SourceFormat.ALPACA, own_copy=True)
        job = large.datasets.begin_import(LOCAL_ADMIN, request)
        assert isinstance(job, Job) and path.exists()
        done = large.jobs.wait(LOCAL_ADMIN, job.id, 60)
        assert path.exists()
        large.datasets.settle((done,))
        assert not path.parent.exists()

    def test_a_file_that_is_no_upload_stays_whatever_the_request_says(
        self, large: Room, jsonl: Writer
    ) -> None:
        path = jsonl(alpaca(3))
        large.datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "x", own_copy=True))
        assert path.exists()

    def test_a_day_old_upload_is_swept_unless_an_import_needs_it(self, large: Room, home: Path) -> None:
        needed, fresh, old = (upload(home, name, alpaca(2)) for name in ("needed", "fresh", "old"))
        begun = large.datasets.begin_import(LOCAL_ADMIN, ImportRequest(needed, "x"))
        (home / "uploads" / "tmp-of-a-form").touch()
        for place in (
            needed.parent,
            needed,
            fresh.parent,
            old.parent,
            old,
            home / "uploads" / "tmp-of-a-form",
        ):
            os.utime(place, (0, 0))
        large.datasets.begin_import(LOCAL_ADMIN, ImportRequest(fresh, "y"))
        assert sorted(p.name for p in (home / "uploads").iterdir()) == ["fresh", "needed"]
        assert isinstance(begun, Job)
        large.jobs.wait(LOCAL_ADMIN, begun.id, 60)
        assert large.datasets.import_result(LOCAL_ADMIN, begun.id) is not None

    def test_a_stopped_import_makes_nothing(self, large: Room, jsonl: Writer) -> None:
        job = large.datasets.start_import(LOCAL_ADMIN, ImportRequest(jsonl(alpaca(5)), "x"))
        stopped = large.jobs.request_stop(LOCAL_ADMIN, job.id)
        large.datasets.settle((stopped,))
        with pytest.raises(StudioError, match="stopped"):
            large.datasets.import_result(LOCAL_ADMIN, job.id)
        assert large.datasets.list(LOCAL_ADMIN) == ()

    def test_a_parquet_file_that_says_it_is_large_goes_to_a_job(
        self, database: Database, home: Path, tmp_path: Path
    ) -> None:
        room = open_room(Settings(_env_file=None, home=home, import_inline_mb=1), database)
        pq.write_table(pa.table({"text": ["word " * (1 << 19)]}), tmp_path / "x.parquet", compression="zstd")
        assert (tmp_path / "x.parquet").stat().st_size < 1 << 20
        room.datasets.import_file(LOCAL_ADMIN, ImportRequest(tmp_path / "x.parquet", "x"))
        assert len(room.jobs.list(LOCAL_ADMIN)) == 1
        room.jobs.close()


def test_messages_survive_any_text(datasets: DatasetService, jsonl: Writer) -> None:
    odd = "\u2028 line \x85 \t\n\r\n \U0001f600 a\u0301 \ufeff {} \\u0000 \x1f"
    path = jsonl([{"messages": [user(odd), assistant(odd[::-1])]}])
    version = datasets.import_file(LOCAL_ADMIN, ImportRequest(path, "odd")).version
    assert all_rows(datasets, version.id) == [{"messages": [user(odd), assistant(odd[::-1])]}]
