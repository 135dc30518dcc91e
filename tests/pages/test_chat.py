"""Chat: turns, blindness until the vote, verdicts stored once, thumbs, stopping, and errors in the pane."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pages import chat
from pages.chat_layout import updates
from pages.chat_lineup import BLIND, MODELS, VARIANTS, arrive
from pages.chat_records import Lineup, Screen, Stage, Talk
from pages.chat_relay import Relay
from pages.chat_talk import converse, judge, standing, stop, thumb
from pages.chat_words import room as room_for_models
from pages.components.answers import readable
from pages.components.visible import HIDDEN
from studio.arena import BattleStarted
from studio.core import LOCAL_ADMIN, InvalidInput
from studio.datasets import Outcome
from studio.registry import ModelVersion
from studio.serving import EngineStatus, Sampling, VariantSpec
from studio.studio import Studio
from tests.pages.conftest import visiting
from tests.pages.talking import adapter_of, with_backend
from tests.unit.arena.fakes import FakeBackend


@dataclass(frozen=True)
class Room:
    studio: Studio
    backend: FakeBackend
    base: ModelVersion
    taught: ModelVersion

    def lineup(self, *, blind: bool = True) -> Lineup:
        return Lineup(blind, self.taught.reference, self.base.reference, "", Sampling())

    def ask(
        self, text: str = "What is a LoRA?", talk: Talk | None = None, *, blind: bool = True
    ) -> list[Screen]:
        return list(converse(self.studio, talk or Talk(), text, self.lineup(blind=blind)))


@pytest.fixture
def room(studio: Studio, base: ModelVersion, home: Path) -> Room:
    talking, backend = with_backend(studio)
    return Room(talking, backend, base, adapter_of(studio, base, home / "adapter"))


def names_in(room: Room, thing: object) -> list[str]:
    """Everything that would tell a side, found in what is sent to the browser or kept for it."""
    shown = repr(thing)
    known = (room.base.id, room.base.reference, room.taught.id, room.taught.reference, "tokens/s")
    return [name for name in known if name in shown]


def test_a_turn_streams_into_both_panes_and_asks_for_a_verdict(room: Room) -> None:
    room.backend.queue(room.base.id, "The base says this.")
    room.backend.queue(room.taught.id, "The adapter says that.")
    screens = room.ask()
    assert screens[0].stage is Stage.WRITING
    assert "Loading the model" in screens[0].sides["a"].foot
    last = screens[-1]
    assert last.stage is Stage.VERDICT
    assert {side.text for side in last.sides.values()} == {"The base says this.", "The adapter says that."}
    assert last.talk.battle and last.talk.nonce
    assert "What is a LoRA?" in last.history


def test_a_blind_turn_tells_nothing_before_the_vote(room: Room) -> None:
    screens = room.ask()
    assert names_in(room, screens) == []
    assert names_in(room, [updates(screen) for screen in screens]) == []
    assert names_in(room, standing(room.studio, screens[-1].talk)) == []


def test_the_vote_reveals_and_a_second_click_is_the_same_vote(room: Room) -> None:
    talk = room.ask()[-1].talk
    first = judge(room.studio, talk, Outcome.A, " clearer ", "")
    again = judge(room.studio, talk, Outcome.A, " clearer ", "")
    assert first.stage is again.stage is Stage.JUDGED
    assert room.taught.reference in first.status
    assert room.base.reference in first.status
    assert room.taught.reference in first.sides["a"].head + first.sides["b"].head
    (vote,) = room.studio.arena.votes(LOCAL_ADMIN)
    assert vote.comment == "clearer"
    assert "preferred 1×" in first.status


def test_the_next_turn_goes_on_and_needs_a_verdict_when_blind(room: Room) -> None:
    talk = room.ask()[-1].talk
    refused = room.ask("And then?", talk)[-1]
    assert "no verdict yet" in refused.status
    assert refused.message == "And then?"
    assert refused.stage is Stage.VERDICT
    judged = judge(room.studio, talk, Outcome.TIE, "", "")
    second = room.ask("And then?", judged.talk)[-1]
    assert second.stage is Stage.VERDICT
    assert second.talk.conversation == talk.conversation
    assert second.talk.battle != talk.battle
    assert "1 earlier turn" in second.history


def test_named_mode_shows_names_and_measurements(room: Room) -> None:
    screens = room.ask(blind=False)
    assert room.taught.reference in screens[0].sides["a"].head
    last = screens[-1]
    assert room.base.reference in last.sides["b"].head
    assert "tokens" in last.sides["a"].foot
    assert room.ask("More", last.talk, blind=False)[-1].stage is Stage.VERDICT


def test_an_error_of_one_side_stands_in_its_pane(room: Room) -> None:
    room.backend.failing = {room.taught.id}
    last = room.ask(blind=False)[-1]
    assert "ran out of memory" in last.sides["a"].foot
    hidden = room.ask()[-1]
    assert names_in(room, hidden) == []


def test_a_server_that_does_not_start_gives_the_message_back(room: Room) -> None:
    room.backend.refusing = "The model server did not start."
    last = room.ask()[-1]
    assert "did not start" in last.status
    assert last.message == "What is a LoRA?"
    assert last.stage is Stage.READY


def test_without_two_models_it_says_so(room: Room) -> None:
    last = list(converse(room.studio, Talk(), "Hi", replace(room.lineup(), second="")))[-1]
    assert "Two models are needed" in last.status


def test_a_turn_can_be_stopped(room: Room) -> None:
    room.backend.hanging = {room.base.id, room.taught.id}
    screens = converse(room.studio, Talk(), "Hi", room.lineup())
    seen = []
    for screen in screens:
        seen.append(screen)
        if any(side.text for side in screen.sides.values()):
            assert stop(screen.talk)
            # The reader sees the stop with its next event; here that is the end of the stream.
            threading.Timer(0.1, room.backend.closed.set).start()
            break
    screens.close()
    deadline = time.monotonic() + 20
    while not room.studio.arena.battles(LOCAL_ADMIN) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not stop(seen[-1].talk)


def test_thumbs_are_put_and_taken_back(room: Room) -> None:
    talk = room.ask()[-1].talk
    up = thumb(room.studio, talk, "a", True)
    assert up.thumb("a") is True
    assert up.thumb("b") is None
    down = thumb(room.studio, up, "a", False)
    assert down.thumb("a") is False
    assert thumb(room.studio, down, "a", False).thumb("a") is None
    assert room.studio.arena.opinions(LOCAL_ADMIN) == ()
    with pytest.raises(InvalidInput):
        thumb(room.studio, Talk(), "a", True)


def test_a_deployment_compares_its_variants(room: Room) -> None:
    variants = (VariantSpec("control", room.base.id, 1.0), VariantSpec("candidate", room.taught.id, 1.0))
    room.studio.serving.deploy(LOCAL_ADMIN, "helper", variants)
    lineup = Lineup(True, "", "", "helper", Sampling())
    talk = list(converse(room.studio, Talk(), "Hi", lineup))[-1].talk
    assert "candidate" in judge(room.studio, talk, Outcome.SKIP, "", "").status


def test_the_handler_yields_only_what_changes(room: Room) -> None:
    given = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "repetition": 1.0, "seed": "7"}
    frames = list(
        chat.send(
            room.studio,
            talk=Talk(),
            text="Hi",
            mode=BLIND,
            source=MODELS,
            first=room.base.reference,
            second=room.taught.reference,
            deployment=None,
            **given,
        )
    )
    assert len({len(frame) for frame in frames}) == 1
    assert isinstance(frames[-1][0], Talk)
    assert room.backend.seen[0][0].sampling.seed == 7
    with pytest.raises(InvalidInput, match="seed"):
        list(chat.send(room.studio, talk=Talk(), text="Hi", mode=BLIND, source=VARIANTS, first="", second="",
                       deployment="x", **{**given, "seed": "seven"}))  # fmt: skip


def test_the_address_chooses_the_line_up_once(room: Room) -> None:
    asked = visiting(tab="chat", a=room.base.id, b=room.taught.reference, blind="0")
    view = arrive(room.studio, asked, first=None, second=None, applied="")
    assert view[4]["value"] == room.base.reference
    assert view[5]["value"] == room.taught.reference
    assert view[2]["value"] == "Named"
    again = arrive(room.studio, asked, first="chosen@1", second="other@1", applied=view[-1])
    assert again[4]["value"] == "chosen@1"


def test_without_models_the_page_says_what_to_do(studio: Studio) -> None:
    view = arrive(studio, visiting(tab="chat"), first=None, second=None, applied="")
    assert view[0]["visible"] is True
    assert view[1]["visible"] == HIDDEN


def test_an_answer_cannot_make_the_browser_fetch_anything() -> None:
    text = "See <img src=http://x/y> and ![pic](http://x/z)\n```html\n<b>code</b>\n```\n`<i>`"
    shown = readable(text)
    assert "<img" not in shown
    assert "![" not in shown
    assert "<b>code</b>" in shown
    assert "`<i>`" in shown


def test_a_relay_tells_of_silence_and_hands_on_errors() -> None:
    gate = threading.Event()

    def turn():
        yield BattleStarted("battle_1", 1)
        gate.wait(10)
        raise InvalidInput("No.")

    events = Relay(turn()).events(0.02)
    assert next(events) == BattleStarted("battle_1", 1)
    assert next(events) is None
    gate.set()
    with pytest.raises(InvalidInput):
        for _ in events:
            pass


def test_the_page_says_what_models_give_way_to(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room_for_models(room.studio) == ""
    status = EngineStatus("base_1", "stopped", (), None, "", "the run “<First>”")
    monkeypatch.setattr(room.backend, "status", lambda: (status,))
    assert "Models give way to the run “&lt;First&gt;”" in room_for_models(room.studio)
