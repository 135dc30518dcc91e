"""Data: import with a look first, honest reports, reading rows, and versions made of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio.data_classes import FileData

from pages import data, data_browse, data_build, data_import, data_look
from pages.components.dataset_rows import row_view
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, Settings
from studio.datasets import DatasetVersion, NewVersion, SchemaKind, Split
from studio.studio import Studio, open_studio
from tests.pages.conftest import visiting

LISTING = -1


def import_it(studio: Studio, source: Path, **changes: object) -> str:
    given: dict[str, object] = {
        "upload": None,
        "path": str(source),
        "dataset": "mine",
        "format_": None,
        "validation": 0.25,
        "seed": 0,
        "licence": "CC0-1.0",
        "first": None,
        "second": None,
        "third": None,
        "fourth": None,
    }
    *_, last = data_import.run(studio, **(given | changes))  # type: ignore[arg-type]
    return last


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    source = tmp_path / "My rows.csv"
    lines = ["question,reply", *(f"What is {n}?,It is {n}." for n in range(8)), "No reply,"]
    source.write_text("\n".join(lines) + "\n")
    return source


def test_nothing_imported_says_what_to_do(studio: Studio) -> None:
    view = data.view(studio, visiting(tab="data"))
    assert "No data yet" in view[LISTING]
    assert view[0]["visible"] == HIDDEN


def test_a_look_detects_and_offers_columns(studio: Studio, csv: Path) -> None:
    found = data_look.look(studio, None, str(csv))
    assert found.format is not None
    assert found.columns == ("question", "reply")
    assert found.name == "my-rows"
    assert "What is 0?" in found.preview
    view = data_look.inspect(studio, upload=None, path=str(csv))
    pickers = view[-data_look.MOST_PARTS :]
    assert [p["visible"] for p in pickers] == [True, True, True, HIDDEN]
    assert {pickers[0]["value"], pickers[1]["value"]} == {"question", "reply"}


def test_another_format_brings_its_own_parts(studio: Studio) -> None:
    pickers = data_look.pick_format(studio, chosen="text", columns=("Text", "id"))
    assert pickers[0]["value"] == "Text"
    assert [p["visible"] for p in pickers] == [True, HIDDEN, HIDDEN, HIDDEN]


def test_no_file_or_a_missing_one_is_said(studio: Studio, tmp_path: Path) -> None:
    assert "No file was chosen" in data_look.look(studio, None, "  ").preview
    assert "td-bad" in data_look.look(studio, None, str(tmp_path / "none.csv")).preview


def test_an_import_reports_what_was_set_aside(studio: Studio, csv: Path) -> None:
    columns = {"format_": "prompt_completion", "first": "question", "second": "reply"}
    report = import_it(studio, csv, **columns)
    version = studio.datasets.version(LOCAL_ADMIN, "mine")
    assert "mine@1" in report
    assert "1 row set aside" in report
    assert "is empty" in report
    assert f"../datasets/{version.id}/rejects" in report
    assert version.total_rows == 8
    assert version.licence == "CC0-1.0"


def test_a_refused_import_says_why(studio: Studio, csv: Path) -> None:
    assert "td-bad" in import_it(studio, csv, format_="preference", first="question", second="reply")


def test_a_large_file_is_a_job_with_progress(settings: Settings, csv: Path) -> None:
    studio = open_studio(settings.model_copy(update={"import_inline_mb": 0}))
    studio.start()  # the heartbeat sees the job to its end
    columns = {"format_": "prompt_completion", "first": "question", "second": "reply"}
    assert "mine@1" in import_it(studio, csv, **columns)
    assert [job.kind for job in studio.jobs.list(LOCAL_ADMIN)] == ["import"]
    studio.close()


@pytest.fixture
def walled(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """A studio that imports from one directory only, with Gradio set up as app.py does it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(settings.home / "uploads"))
    made = open_studio(settings.model_copy(update={"import_roots": str(tmp_path / "allowed")}))
    yield made
    made.close()


def uploaded(studio: Studio, source: Path) -> str:
    """What a handler gets where Gradio took a file in."""
    field = gr.File(type="filepath")
    kept = field.move_resource_to_block_cache(source)
    assert kept is not None
    return str(field.preprocess(FileData(path=kept, orig_name=source.name)))


# Gradio leaves a temporary file open at each look at an upload.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_upload_is_taken_where_paths_are_walled_off(walled: Studio, csv: Path) -> None:
    assert "td-bad" in data_look.look(walled, None, str(csv)).preview
    upload = uploaded(walled, csv)
    assert Path(upload).is_relative_to(walled.settings.home / "uploads")
    found = data_look.look(walled, upload, "")
    assert found.columns == ("question", "reply")
    columns = {"format_": "prompt_completion", "first": "question", "second": "reply"}
    bad = import_it(walled, csv, upload=upload, path="", **(columns | {"second": "answer"}))
    assert "td-bad" in bad
    # The upload stays, so that the form can be mended and Import pressed again.
    for _ in range(2):
        assert "mine@1" in import_it(walled, csv, upload=upload, path="", **columns)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_upload_that_was_swept_is_asked_for_again(walled: Studio, csv: Path) -> None:
    upload = uploaded(walled, csv)
    Path(upload).unlink()
    assert "Upload the file again" in data_look.look(walled, upload, "").preview
    assert "Upload the file again" in import_it(walled, csv, upload=upload, path="")


def test_a_file_without_a_good_row_names_its_reject_file(studio: Studio, tmp_path: Path) -> None:
    source = tmp_path / "bad.csv"
    source.write_text("question,reply\n" + "".join(f"What is {n}?,\n" for n in range(1020)))
    columns = {"format_": "prompt_completion", "first": "question", "second": "reply"}
    said = import_it(studio, source, **columns)
    assert "and 1,000 more" in said
    [kept] = (studio.settings.home / "datasets" / "rejected").iterdir()
    assert str(kept) in said
    assert len(kept.read_text().splitlines()) == 1020


def test_a_version_is_read_page_by_page(studio: Studio) -> None:
    rows = [{"text": f"Passage {n} <b>of</b> many"} for n in range(25)]
    new = NewVersion(
        "passages", SchemaKind.CORPUS, {Split.TRAIN: rows, Split.VALIDATION: []}, ({"step": "made"},)
    )
    version = studio.datasets.create(LOCAL_ADMIN, new)
    shown = data_browse.rows(studio, version, {"version": version.id, "from": "10"})
    assert "11 to 20 of 25" in shown
    assert "&lt;b&gt;of&lt;/b&gt;" in shown
    found = data_browse.rows(studio, version, {"version": version.id, "find": "Passage 24"})
    assert "Passage 24" in found
    assert "Row 1" in found
    assert "No row matches" in data_browse.rows(studio, version, {"find": "nowhere"})
    held_out = data_browse.rows(studio, version, {"split": "validation"})
    assert "Nothing was held out" in held_out


def test_an_opened_version_tells_how_it_came_about(studio: Studio, instructions: DatasetVersion) -> None:
    opened = data_browse.opened(studio, {"version": "numbers"})
    assert opened is not None
    assert instructions.digest[:12] in opened.head
    assert "4 for training, 2 held out" in opened.head
    assert "?tab=train" in opened.head
    missing = data_browse.opened(studio, {"version": "nobody"})
    assert missing is not None
    assert "td-bad" in missing.head


def test_the_list_is_searched_and_sorted(studio: Studio, instructions: DatasetVersion) -> None:
    assert instructions.name in data.listing(studio, {"q": "numb", "sort": "rows"})
    assert "No dataset matches" in data.listing(studio, {"q": "zzz"})


def test_joining_reports_the_new_version(studio: Studio, instructions: DatasetVersion) -> None:
    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}]
    new = NewVersion(
        "more", SchemaKind.INSTRUCTION, {Split.TRAIN: rows, Split.VALIDATION: []}, ({"step": "x"},)
    )
    studio.datasets.create(LOCAL_ADMIN, new)
    said = data_build.join(studio, dataset="all", versions=[instructions.reference, "more@1"], seed=0)
    assert "all@1" in said
    assert "No duplicates" in said
    assert "td-bad" in data_build.join(studio, dataset="all", versions=[], seed=0)


def test_preferences_without_verdicts_fail_plainly(studio: Studio) -> None:
    assert "Pairs need verdicts" in data_build.material(studio)
    said = data_build.build(
        studio,
        dataset="preferences",
        joined=None,
        agreement=0.5,
        validation=0.1,
        seed=0,
        better=True,
        scripted=False,
    )
    assert "td-bad" in said


def test_every_kind_of_row_is_shown_escaped() -> None:
    message = [{"role": "user", "content": "<script>x</script>"}]
    rows = {
        SchemaKind.CORPUS: {"text": "<script>x</script>"},
        SchemaKind.INSTRUCTION: {"messages": message},
        SchemaKind.PREFERENCE: {
            "prompt": message,
            "chosen": message,
            "rejected": message,
            "votes": ["v"],
            "agreement": 1.0,
        },
        SchemaKind.UNPAIRED: {"prompt": message, "completion": message, "label": False},
    }
    for kind, row in rows.items():
        shown = row_view(kind, row, 1)
        assert "<script>" not in shown
        assert "&lt;script&gt;" in shown
    assert json.dumps(["odd"])[2:5] in row_view(SchemaKind.INSTRUCTION, {"messages": ["odd"]}, 1)
