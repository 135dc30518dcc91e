"""Versions of our own making: create, join, page and search."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core import LOCAL_ADMIN, Conflict, InvalidInput, Node, NotFound
from studio.datasets import DatasetService, NewVersion, SchemaKind, Split
from studio.datasets.parquet_files import RowWriter, read_page, read_rows
from tests.unit.datasets.conftest import Room, instruction, preference, user

KIND = SchemaKind.INSTRUCTION


def new(
    dataset: str, train: list, validation: list = (), kind: SchemaKind = KIND, **more: object
) -> NewVersion:
    rows = {Split.TRAIN: list(train), Split.VALIDATION: list(validation)}
    return NewVersion(dataset, kind, rows, steps=({"step": "test"},), **more)


def rows_of(version, split: Split) -> list[dict]:
    return list(read_rows(version.file(split)))


def test_create_keeps_sides_and_says_what_it_came_from(room: Room) -> None:
    first = room.datasets.create(LOCAL_ADMIN, new("a", [instruction("q", "a")]))
    made = room.datasets.create(
        LOCAL_ADMIN,
        new(
            "b", [instruction("q", "a")] * 2, [instruction("r", "a")], parents=("a@1",), extra={"why": "test"}
        ),
    )
    assert rows_of(made, Split.TRAIN) == [instruction("q", "a")]
    assert rows_of(made, Split.VALIDATION) == [instruction("r", "a")]
    assert made.parents == (first.id,)
    assert made.steps == (
        {"step": "test"},
        {"step": "leave out duplicates", "rows": 1},
        {"step": "note", "why": "test"},
    )
    edges = room.lineage.parents(Node("dataset_version", made.id))
    assert [(edge.parent.id, edge.relation) for edge in edges] == [(first.id, "derived_from")]


def test_the_same_rows_are_the_same_version(datasets: DatasetService) -> None:
    rows = [instruction("q", "a"), instruction("r", "b")]
    first = datasets.create(LOCAL_ADMIN, new("a", rows))
    assert datasets.create(LOCAL_ADMIN, new("a", rows[::-1])).id == first.id
    assert datasets.create(LOCAL_ADMIN, new("a", rows[:1], rows[1:])).number == 2
    assert datasets.create(LOCAL_ADMIN, new("other", rows)).digest == first.digest


@pytest.mark.parametrize(
    ("train", "validation", "why"),
    [
        ([], [], "no rows"),
        ([instruction("q", "")], [], "not usable"),
        ([{"messages": [user("q")]}], [], "not usable"),
        ([{**instruction("q", "a"), "extra": 1}], [], "not usable"),
        ([instruction("q", "lone \ud800")], [], "not usable"),
        ([instruction("Same  question", "a")], [instruction("same question", "b")], "held out"),
    ],
)
def test_rows_that_are_not_canonical_are_refused(
    datasets: DatasetService, train: list, validation: list, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        datasets.create(LOCAL_ADMIN, new("a", train, validation))
    assert datasets.list(LOCAL_ADMIN) == ()


def test_what_is_not_there_is_named(datasets: DatasetService) -> None:
    datasets.create(LOCAL_ADMIN, new("help", [instruction("q", "a")]))
    for reference in ("nothing", "help@2", "dsv_0000000000"):
        with pytest.raises(NotFound, match="help"):
            datasets.version(LOCAL_ADMIN, reference)
    with pytest.raises(InvalidInput):
        datasets.version(LOCAL_ADMIN, "help@new")
    with pytest.raises(NotFound):
        datasets.versions(LOCAL_ADMIN, "nothing")
    with pytest.raises(NotFound):
        datasets.create(LOCAL_ADMIN, new("b", [instruction("q", "a")], parents=("nothing",)))


def test_prompts_are_normalised(datasets: DatasetService) -> None:
    version = datasets.create(
        LOCAL_ADMIN, new("a", [instruction("What  IS it?", "x")], [instruction("Why?", "x")])
    )
    assert datasets.prompts(LOCAL_ADMIN, version.id) == {"what is it?", "why?"}


class TestJoin:
    def test_each_row_once_and_held_out_stays_held_out(self, room: Room) -> None:
        datasets = room.datasets
        a = datasets.create(
            LOCAL_ADMIN, new("a", [instruction("q1", "x"), instruction("q2", "x")], licence="CC0")
        )
        b = datasets.create(
            LOCAL_ADMIN,
            new(
                "b", [instruction("q1", "x"), instruction("q3", "x")], [instruction("Q2", "y")], licence="MIT"
            ),
        )
        joined = datasets.join(LOCAL_ADMIN, "both", ("a", "b@1", a.id))
        assert sorted(map(str, rows_of(joined, Split.TRAIN))) == sorted(
            map(str, [instruction("q1", "x"), instruction("q3", "x")])
        )
        assert {str(row) for row in rows_of(joined, Split.VALIDATION)} == {
            str(instruction("q2", "x")),
            str(instruction("Q2", "y")),
        }
        assert joined.parents == (a.id, b.id) and joined.licence == "CC0; MIT"
        assert joined.steps[0]["duplicates_left_out"] == 1 and joined.steps[0]["moved_to_validation"] == 1
        assert len(room.lineage.parents(Node("dataset_version", joined.id))) == 2

    def test_the_seed_draws_the_order_only(self, datasets: DatasetService) -> None:
        datasets.create(LOCAL_ADMIN, new("a", [instruction(f"q{n}", "x") for n in range(20)]))
        one = datasets.join(LOCAL_ADMIN, "one", ("a",), seed=1)
        two = datasets.join(LOCAL_ADMIN, "two", ("a",), seed=2)
        assert one.digest == two.digest
        assert rows_of(one, Split.TRAIN) != rows_of(two, Split.TRAIN)

    def test_only_one_kind(self, datasets: DatasetService) -> None:
        datasets.create(LOCAL_ADMIN, new("a", [instruction("q", "x")]))
        datasets.create(LOCAL_ADMIN, new("p", [preference("q", "x", "y")], kind=SchemaKind.PREFERENCE))
        with pytest.raises(InvalidInput, match="different kinds"):
            datasets.join(LOCAL_ADMIN, "x", ("a", "p"))
        with pytest.raises(InvalidInput, match="nothing to join"):
            datasets.join(LOCAL_ADMIN, "x", ())
        with pytest.raises(Conflict):
            datasets.join(LOCAL_ADMIN, "p", ("a",))

    def test_the_same_pair_with_and_without_votes_is_one_row(self, datasets: DatasetService) -> None:
        pair = preference("q", "x", "y")
        voted = {**pair, "votes": ["vote_1"], "agreement": 1.0, "builder": "abc"}
        datasets.create(LOCAL_ADMIN, new("p", [voted], kind=SchemaKind.PREFERENCE))
        datasets.create(LOCAL_ADMIN, new("i", [pair, preference("r", "x", "y")], kind=SchemaKind.PREFERENCE))
        joined = datasets.join(LOCAL_ADMIN, "x", ("p", "i"))
        assert joined.total_rows == 2 and voted in rows_of(joined, Split.TRAIN)
        assert preference("r", "x", "y") in rows_of(joined, Split.TRAIN)


class TestPages:
    @pytest.fixture
    def path(self, tmp_path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("studio.datasets.parquet_files._GROUP_ROWS", 10)
        path = tmp_path / "x.parquet"
        with RowWriter(path, SchemaKind.INSTRUCTION) as writer:
            for n in range(95):
                writer.write(instruction(f"Question {n}", "ÄRGER" if n % 10 == 3 else "a.b* [user]"), 10)
        return path

    def test_pages_join_up(self, path) -> None:
        pages = [read_page(path, offset, 7) for offset in range(0, 95, 7)]
        assert [row for page in pages for row in page.rows] == list(read_rows(path))
        assert {page.total for page in pages} == {95}
        assert read_page(path, 95, 7).rows == () and read_page(path, 1000, 7).total == 95

    def test_only_the_groups_of_the_page_are_read(self, path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyarrow.parquet as pq

        read: list[int] = []
        real = pq.ParquetFile.read_row_group
        monkeypatch.setattr(
            pq.ParquetFile, "read_row_group", lambda file, n, **more: read.append(n) or real(file, n, **more)
        )
        page = read_page(path, 38, 5)
        assert [row["messages"][0]["content"] for row in page.rows] == [
            f"Question {n}" for n in range(38, 43)
        ]
        assert read == [3, 4]

    @pytest.mark.parametrize(
        ("search", "total"),
        [("ärger", 10), ("QUESTION 9", 6), ("a.b* [USER]", 85), ("role", 0), ("assistant", 0)],
    )
    def test_search_is_for_text_whatever_its_case(self, path, search: str, total: int) -> None:
        pages = [read_page(path, offset, 4, search) for offset in range(0, 96, 4)]
        assert {page.total for page in pages} == {total}
        assert sum(len(page.rows) for page in pages) == total

    def test_the_service_checks_what_is_asked(self, datasets: DatasetService) -> None:
        version = datasets.create(LOCAL_ADMIN, new("a", [instruction("q", "a")]))
        assert datasets.page(LOCAL_ADMIN, version.id, Split.VALIDATION, 0, 10).total == 0
        assert datasets.page(LOCAL_ADMIN, version.id, Split.TRAIN, 0, 10, "  Q ").total == 1
        for offset, limit in ((-1, 10), (0, 0), (0, 1001)):
            with pytest.raises(InvalidInput):
                datasets.page(LOCAL_ADMIN, version.id, Split.TRAIN, offset, limit)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    str.strip
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.builds(instruction, TEXT, TEXT), min_size=1, max_size=8))
def test_any_text_comes_back_from_parquet(tmp_path, rows: list[dict]) -> None:
    path = tmp_path / "x.parquet"
    with RowWriter(path, SchemaKind.INSTRUCTION) as writer:
        for row in rows:
            writer.write(row, 10)
    assert list(read_rows(path)) == rows
    needle = rows[0]["messages"][0]["content"]
    assert rows[0] in read_page(path, 0, 10, needle).rows
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
