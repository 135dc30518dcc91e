"""Identity in the pages: whose studio a handler gets, which role an event asks for, what each door holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr
import pytest

from pages.app import DOORS, build
from pages.components.brand import brand_line
from pages.components.visible import HIDDEN
from pages.components.wiring import bound, listen
from pages.doors import ANNOTATE, ARENA, STUDIO, Door
from pages.roles import ADMINS, LABELLERS, RESEARCHERS, ROLES
from studio.core import EVERYONE, Role, Settings
from studio.studio import Studio, open_studio
from tests.pages.building import in_a_loop
from tests.pages.people import NAMES, at_the_desk, sent_by, settle_in


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The application of each door by its name."""
    home = tmp_path_factory.mktemp("doors") / "home"
    made = open_studio(Settings(_env_file=None, home=home, embedded_model=False, sample_data=False))
    yield {door.name: in_a_loop(partial(build, made, door)) for door in DOORS}
    made.close()


def name_of(studio: Studio) -> str:
    return studio.actor.name


def test_without_accounts_whoever_is_here_is_the_local_admin(studio: Studio) -> None:
    call = bound(name_of, studio, ADMINS)
    assert call(sent_by("local")) == call(sent_by(None)) == call() == "local"


@pytest.mark.parametrize("role", Role)
def test_a_handler_works_as_the_person_who_sent_the_event(studio: Studio, role: Role) -> None:
    settle_in(studio)
    assert bound(name_of, studio, EVERYONE)(sent_by(NAMES[role])) == NAMES[role]
    assert studio.actor.name == "local"


@pytest.mark.parametrize("name", [None, "", "local", "studio", "nobody", "ADA"])
def test_nobody_works_as_nobody(studio: Studio, name: str | None) -> None:
    settle_in(studio)
    with pytest.raises(gr.Error, match="not logged in"):
        bound(name_of, studio, EVERYONE)(sent_by(name))


def test_a_role_that_the_event_is_not_for_is_refused_before_the_handler(studio: Studio) -> None:
    settle_in(studio)
    reached = []

    def handler(_studio: Studio) -> None:
        reached.append(1)

    with pytest.raises(gr.Error, match="needs researcher"):
        bound(handler, studio, RESEARCHERS)(sent_by("ann"))
    assert not reached
    bound(handler, studio, LABELLERS)(sent_by("ann"))
    bound(handler, studio, ADMINS)(sent_by("ada"))
    assert len(reached) == 2


def test_a_generator_asks_before_its_first_word(studio: Studio) -> None:
    settle_in(studio)

    def words(theirs: Studio, *, upto: int) -> Iterator[str]:
        yield from [theirs.actor.name] * upto

    call = bound(words, studio, LABELLERS)
    assert list(call(sent_by("ann"), upto=2)) == ["ann", "ann"]
    with pytest.raises(gr.Error, match="needs"):
        next(call(sent_by("stan"), upto=2))


def test_a_change_of_role_or_state_holds_from_the_next_event_on(studio: Studio) -> None:
    settle_in(studio)
    call = bound(name_of, studio, RESEARCHERS)
    admin = at_the_desk(studio, Role.ADMIN).actor
    assert call(sent_by("rae")) == "rae"
    studio.accounts.change_role(admin, "rae", Role.ANNOTATOR)
    with pytest.raises(gr.Error, match="needs researcher"):
        call(sent_by("rae"))
    studio.accounts.disable(admin, "rae")
    with pytest.raises(gr.Error, match="not logged in"):
        call(sent_by("rae"))


def test_a_handler_with_a_request_or_event_data_keeps_them(studio: Studio) -> None:
    def handler(_studio: Studio, request: gr.Request, data: gr.EventData, *, word: str) -> str:
        return f"{request.username} {data.target} {word}"

    call = bound(handler, studio)
    assert list(call.__annotations__) == ["request", "data", "word"]
    assert call(sent_by("x"), gr.EventData("button", {}), word="w") == "x button w"


def test_an_event_without_roles_is_not_built(studio: Studio) -> None:
    def page() -> None:
        with gr.Blocks():
            listen(gr.Button().click, name_of, studio, api_name="undeclared")

    with pytest.raises(LookupError, match=r"pages/roles\.py"):
        in_a_loop(page)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_every_event_of_a_door_is_declared_and_checked(built: dict[str, Any], door: Door) -> None:
    functions = built[door.name].fns.values()
    assert {one.api_name for one in functions} <= set(ROLES)
    # A handler that was not bound by the wiring knows no person.
    assert all(one.fn is None or hasattr(one.fn, "roles") for one in functions)


def test_no_declared_event_is_forgotten(built: dict[str, Any]) -> None:
    """What is declared and not built is a name that was changed in one place only."""
    names = {one.api_name for door in built.values() for one in door.fns.values()}
    assert set(ROLES) - names == set()


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_no_column_relies_on_gradio_to_hide_it(built: dict[str, Any], door: Door) -> None:
    blocks = built[door.name].blocks.values()
    assert [one for one in blocks if hasattr(one, "children") and one.visible == HIDDEN] == []


def test_each_door_holds_its_pages() -> None:
    assert [tab.name for tab in ANNOTATE.pages][:1] == ["annotate"]
    assert [(tab.name, tab.title) for tab in ARENA.pages] == [("chat", "Arena"), ("account", "Account")]
    assert {"home", "people", "account"} <= {tab.name for tab in STUDIO.pages}
    assert all(door.pages[-1].name == "account" for door in DOORS)


def test_the_small_doors_call_nothing_that_is_not_for_their_people(built: dict[str, Any]) -> None:
    """An annotator never finds an event behind their door that only stakeholders use, and so on."""
    voters = {one.api_name for one in built["arena"].fns.values()}
    assert all(Role.STAKEHOLDER in ROLES[name] for name in voters)
    labellers = {one.api_name for one in built["annotate"].fns.values()}
    assert not any(Role.STAKEHOLDER in ROLES[n] and Role.ANNOTATOR not in ROLES[n] for n in labellers)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_the_brand_line_says_who_is_logged_in(studio: Studio, door: Door) -> None:
    assert "Log out" not in brand_line(studio, door)
    settle_in(studio)
    line = brand_line(at_the_desk(studio, Role.RESEARCHER), door)
    assert ">rae<" in line
    assert 'method="post" action="../logout"' in line


def test_a_page_for_admins_is_shown_to_admins(studio: Studio) -> None:
    people = "#tab-people-button"
    assert people in brand_line(None, STUDIO)
    assert people not in brand_line(studio, STUDIO)
    settle_in(studio)
    assert people in brand_line(at_the_desk(studio, Role.RESEARCHER), STUDIO)
    assert people not in brand_line(at_the_desk(studio, Role.ADMIN), STUDIO)
