"""What is streamed, what is stored, and when; a scripted backend plays what goes wrong."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Database,
    Forbidden,
    InvalidInput,
    NotFound,
    Role,
    Settings,
    Unavailable,
)
from studio.serving import ChatMessage, RowEnd, RowRequest, Sampling, ServingService, TokenDelta
from tests.unit.serving.adapters import PROMPTS, Reference
from tests.unit.serving.conftest import Shelf, make_service
from tests.unit.serving.fakes import FakeBackend, end

GREEDY = Sampling(temperature=0.0, max_tokens=40)
ASK = {"user": "u", "source": "chat"}


def ask(version: str, prompt: str = PROMPTS[0], sampling: Sampling = GREEDY) -> RowRequest:
    return RowRequest(version, (ChatMessage(role="user", content=prompt),), sampling)


def count(database: Database) -> int:
    row = database.row("SELECT count(*) AS n FROM generations")
    assert row is not None
    return row["n"]


def test_a_pair_is_streamed_and_stored_with_its_battle(
    serving: ServingService, shelf: Shelf, reference: Reference, database: Database
) -> None:
    stored: list[tuple[str, ...]] = []

    def on_stored(connection: sqlite3.Connection, ids: tuple[str, ...]) -> None:
        assert connection.in_transaction
        assert connection.execute("SELECT count(*) FROM generations").fetchone()[0] == 2
        stored.append(ids)

    rows = (ask(shelf.first.id), ask(shelf.second.id, sampling=GREEDY.model_copy(update={"max_tokens": 3})))
    tags = (("dep", "a"), ("dep", "b"))
    texts = ["", ""]
    ends: list[RowEnd] = []
    for event in serving.stream(
        LOCAL_ADMIN, rows, **ASK, tags=tags, on_stored=on_stored, generation_ids=("gen_a", "gen_b")
    ):
        if isinstance(event, TokenDelta):
            texts[event.row] += event.text
        else:
            ends.append(event)
            assert len(stored) == len(ends) - 1
    assert [e.row for e in ends] == [1, 0]
    assert stored == [("gen_a", "gen_b")]
    first, second = (serving.generation(LOCAL_ADMIN, i) for i in ("gen_a", "gen_b"))
    assert first.text == texts[0] == reference.answer("first", PROMPTS[0])[1]
    assert second.text == texts[1]
    assert (second.finish_reason, second.completion_tokens, second.variant) == ("length", 3, "b")
    assert first.model_version_id == shelf.first.id
    assert first.created_at == second.created_at
    assert first.prompt_digest == second.prompt_digest
    assert first.first_token_seconds is not None
    assert first.first_token_seconds <= first.seconds
    assert serving.variant_answers(LOCAL_ADMIN, "dep") == {"a": 1, "b": 1}


def test_the_stored_seed_draws_the_answer_again(serving: ServingService, shelf: Shelf) -> None:
    hot = Sampling(temperature=1.5, max_tokens=20)
    first = serving.complete(LOCAL_ADMIN, ask(shelf.base.id, sampling=hot), **ASK)
    again = serving.complete(LOCAL_ADMIN, ask(shelf.base.id, sampling=first.sampling), **ASK)
    other = serving.complete(LOCAL_ADMIN, ask(shelf.base.id, sampling=hot), **ASK)
    assert first.sampling.seed == first.seed
    assert again.text == first.text
    assert other.text != first.text


def test_closing_the_iterator_stores_what_came_as_cancelled(serving: ServingService, shelf: Shelf) -> None:
    hot = Sampling(temperature=1.5, max_tokens=400, seed=1)
    stream = serving.stream(LOCAL_ADMIN, (ask(shelf.base.id, sampling=hot),), **ASK, generation_ids=("g",))
    seen = ""
    for event in stream:
        seen += event.text if isinstance(event, TokenDelta) else ""
        if len(seen) > 20:
            break
    stream.close()
    kept = serving.generation(LOCAL_ADMIN, "g")
    assert kept.finish_reason == "cancelled"
    assert kept.text.startswith(seen)
    assert kept.prompt_tokens > 0
    assert 0 < kept.completion_tokens < 400
    assert kept.template_digest


def test_what_the_engine_refuses_is_raised_and_not_stored(
    serving: ServingService, shelf: Shelf, database: Database
) -> None:
    long = GREEDY.model_copy(update={"max_tokens": 4096})
    with pytest.raises(InvalidInput, match="context is 512 tokens"):
        serving.complete(LOCAL_ADMIN, ask(shelf.base.id, sampling=long), **ASK)
    assert count(database) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"generation_ids": ("a", "b")}, "as many as rows"),
        ({"tags": (("a", "b"),) * 2}, "as many as rows"),
        ({"user": "a\0b"}, "user"),
        ({"user": "x" * 201}, "user"),
    ],
)
def test_calls_that_make_no_sense(
    serving: ServingService, shelf: Shelf, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        serving.stream(LOCAL_ADMIN, (ask(shelf.base.id),), **{**ASK, **change})


def test_empty_and_unknown_rows(serving: ServingService, shelf: Shelf) -> None:
    with pytest.raises(InvalidInput):
        serving.stream(LOCAL_ADMIN, (), **ASK)
    with pytest.raises(InvalidInput, match="no message"):
        serving.stream(LOCAL_ADMIN, (RowRequest(shelf.base.id, (), GREEDY),), **ASK)
    with pytest.raises(NotFound):
        serving.stream(LOCAL_ADMIN, (ask("nothing@9"),), **ASK)


@pytest.fixture
def scripted(database: Database, settings: Settings, shelf: Shelf):
    def make(script) -> tuple[ServingService, FakeBackend]:
        backend = FakeBackend(script)
        return make_service(database, settings, shelf, backend), backend

    return make


def test_a_break_on_the_way_ends_the_open_rows_as_errors(scripted, shelf: Shelf) -> None:
    broken = Unavailable("The model server was ended by SIGKILL.", "Ask again.")
    serving, _ = scripted(lambda rows: [TokenDelta(0, "half", 2), TokenDelta(1, "who", 1), end(1), broken])
    rows = (ask(shelf.first.id), ask(shelf.second.id))
    events = list(serving.stream(LOCAL_ADMIN, rows, **ASK, generation_ids=("a", "b")))
    last = events[-1]
    assert isinstance(last, RowEnd)
    assert (last.row, last.finish_reason) == (0, "error")
    assert "SIGKILL" in last.error
    kept = serving.generation(LOCAL_ADMIN, "a")
    assert (kept.text, kept.completion_tokens, kept.finish_reason) == ("half", 2, "error")
    assert serving.generation(LOCAL_ADMIN, "b").finish_reason == "stop"


def test_an_answer_without_an_end_is_an_error(scripted, shelf: Shelf) -> None:
    serving, _ = scripted(lambda rows: [TokenDelta(0, "half", 2)])
    answer = serving.complete(LOCAL_ADMIN, ask(shelf.base.id), **ASK)
    assert answer.finish_reason == "error"
    assert "early" in answer.error


def test_two_bases_go_side_by_side_and_one_that_cannot_start_stops_not_the_other(
    scripted,
    shelf: Shelf,
    tiny_model,
) -> None:
    from studio.registry import BaseSource

    other = shelf.registry.register_base(LOCAL_ADMIN, BaseSource(str(tiny_model), "another"))

    def script(rows):
        if rows[0].base_id == other.id:
            raise Unavailable("It could not start.", "See the log.")
        return [TokenDelta(0, "a", 1), TokenDelta(1, "b", 1), end(0), end(1)]

    serving, backend = scripted(script)
    rows = (ask(shelf.first.id), ask(other.id), ask(shelf.second.id))
    hooked: list[tuple[str, ...]] = []
    events = list(
        serving.stream(
            LOCAL_ADMIN,
            rows,
            **ASK,
            generation_ids=("a", "o", "b"),
            on_stored=lambda connection, ids: hooked.append(ids),
        )
    )
    assert sorted(len(group) for group in backend.asked) == [1, 2]
    ends = {e.row: e for e in events if isinstance(e, RowEnd)}
    assert [ends[i].finish_reason for i in range(3)] == ["stop", "error", "stop"]
    assert "could not start" in ends[1].error
    assert hooked == [("a", "o", "b")]
    assert serving.generation(LOCAL_ADMIN, "b").text == "b"


def test_a_hook_that_fails_stores_nothing(scripted, shelf: Shelf, database: Database) -> None:
    serving, _ = scripted(lambda rows: [TokenDelta(0, "a", 1), end(0)])

    def fail(connection: sqlite3.Connection, ids: tuple[str, ...]) -> None:
        raise RuntimeError("the battle cannot be stored")

    with pytest.raises(RuntimeError, match="battle"):
        list(serving.stream(LOCAL_ADMIN, (ask(shelf.base.id),), **ASK, on_stored=fail))
    assert count(database) == 0


def test_closing_does_not_wait_for_an_engine_that_starts(scripted, shelf: Shelf) -> None:
    forever = threading.Event()
    serving, backend = scripted(lambda rows: [TokenDelta(0, "a", 1), forever])
    stream = serving.stream(LOCAL_ADMIN, (ask(shelf.base.id),), **ASK, generation_ids=("g",))
    assert next(stream) == TokenDelta(0, "a", 1)
    stream.close()
    assert backend.streams[0].closed.is_set()
    assert serving.generation(LOCAL_ADMIN, "g").text == "a"


def test_a_generation_is_immutable(scripted, shelf: Shelf, database: Database) -> None:
    serving, _ = scripted(lambda rows: [TokenDelta(0, "a", 1), end(0)])
    list(serving.stream(LOCAL_ADMIN, (ask(shelf.base.id),), **ASK, generation_ids=("g",)))
    for sql in (
        "UPDATE generations SET text = 'b'",
        "DELETE FROM generations",
        "INSERT OR REPLACE INTO generations SELECT * FROM generations",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"), database.write() as connection:
            connection.execute(sql)
    assert serving.generation(LOCAL_ADMIN, "g").text == "a"


def test_a_hidden_generation_tells_nothing(scripted, shelf: Shelf) -> None:
    serving, _ = scripted(lambda rows: [TokenDelta(0, "words", 9), end(0, tokens=9)])
    messages = (
        ChatMessage(role="system", content="SECRET PROMPT"),
        ChatMessage(role="user", content="Hi"),
    )
    row = RowRequest(shelf.first.id, messages, Sampling(temperature=0.123, seed=77))
    for identifier in ("hidden", "open"):
        events = serving.stream(
            LOCAL_ADMIN, (row,), **ASK, tags=(("dep", "SECRET"),), generation_ids=(identifier,)
        )
        list(events)
    blind = {"hidden"}
    serving.hide_when(lambda generation_id: generation_id in blind)
    hidden = serving.generation(LOCAL_ADMIN, "hidden")
    assert hidden.redacted
    assert hidden.text == "words"
    assert hidden.messages == messages[1:]
    # The time of the request may hold any digits, those of a seed as well.
    told = repr(replace(hidden, created_at=0.0))
    for secret in (shelf.first.id, "SECRET", "0.123", "77", "template", "dep"):
        assert secret not in told.replace("template_digest", "").replace("deployment", "")
    assert [g.redacted for g in serving.generations(LOCAL_ADMIN)] == [False, True]
    assert [g.id for g in serving.generations(LOCAL_ADMIN, deployment="dep")] == ["open"]
    blind.clear()
    assert serving.generation(LOCAL_ADMIN, "hidden").model_version_id == shelf.first.id


def test_roles(serving: ServingService, shelf: Shelf) -> None:
    annotator = Actor("ann", Role.ANNOTATOR)
    assert serving.engines(annotator) is not None
    for call in (
        lambda: serving.generations(annotator),
        lambda: serving.deploy(annotator, "x", ()),
        lambda: serving.unload(annotator, shelf.base.id),
    ):
        with pytest.raises(Forbidden):
            call()
