from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from studio.annotation import (
    AnnotationService,
    ItemKind,
    Members,
    NewLabel,
    Project,
    ProjectChange,
    ProjectState,
    Source,
    Standing,
    StoredItem,
    Task,
    Verdict,
)
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Conflict,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    Unavailable,
)
from studio.datasets import DatasetVersion, Message, NewVersion, SchemaKind, Split
from tests.unit.annotation.conftest import ANA, BEN, CAT, LEAD, Desk, number_of, pair, thumb

GUEST = Actor("guest", Role.STAKEHOLDER)
OTHER_LEAD = Actor("other", Role.RESEARCHER)


def test_a_project_covers_both_splits_once(desk: Desk) -> None:
    version = desk.version(8, 4)
    project = desk.project(name="", dataset="pairs", guideline="Prefer what is true.")
    assert (project.dataset_version_id, project.items, project.name) == (version.id, 12, version.reference)
    assert (project.guideline, project.guideline_version) == ("Prefer what is true.", 1)
    assert (project.state, project.created_by, project.task) == (ProjectState.OPEN, "lead", Task.PREFERENCE)
    assert desk.annotation.projects(ANA) == (project,)
    assert [number_of(item) for item in desk.label_all(project)] == list(range(12))
    assert [edge.parent for edge in desk.lineage.parents(Node("project", project.id))] == [
        Node("dataset_version", version.id)
    ]
    assert any(entry.verb == "opened" for entry in desk.audit.recent(LOCAL_ADMIN))


def test_names_tell_projects_apart(desk: Desk) -> None:
    version = desk.version()
    names = [desk.project(name="", dataset=version.id).name for _ in range(3)]
    assert names == [version.reference, f"{version.reference} (2)", f"{version.reference} (3)"]
    with pytest.raises(Conflict):
        desk.project(name=version.reference, dataset=version.id)


def test_a_target_draws_a_sample_that_stays(desk: Desk) -> None:
    version = desk.version(60)
    one, two = (desk.project(name=name, dataset=version.id, target=20) for name in ("one", "two"))
    rows = [[item.prompt for item in desk.stored(project)] for project in (one, two)]
    assert rows[0] == rows[1]
    assert (one.items, len({str(prompt) for prompt in rows[0]})) == (20, 20)
    assert rows[0] != [item.prompt for item in desk.stored(desk.project(dataset=version.id))][:20]


@pytest.mark.parametrize(
    "asked",
    [
        {"overlap": 0},
        {"overlap": 21},
        {"target": 0},
        {"lease_seconds": 29},
        {"lease_seconds": 86_401},
        {"gold_every": 1},
        {"repeat_every": 1},
        {"name": "\0"},
        {"guideline": "x" * 20_001},
        {"members": Members((), ())},
        {"members": Members((), ("\ud800",))},
        {"source": Source.ARENA, "task": Task.ACCEPT},
        {"source": Source.CANDIDATES, "task": Task.EDIT},
        {"task": Task.EDIT, "gold": "pairs"},
    ],
)
def test_projects_that_cannot_be(desk: Desk, asked: dict[str, Any]) -> None:
    desk.version()
    with pytest.raises(InvalidInput):
        desk.project(**{"dataset": "pairs", **asked})
    assert desk.annotation.projects(LEAD) == ()


@pytest.mark.parametrize(
    ("task", "kind", "fits"),
    [
        (Task.PREFERENCE, SchemaKind.INSTRUCTION, False),
        (Task.PREFERENCE, SchemaKind.UNPAIRED, False),
        (Task.RATING, SchemaKind.INSTRUCTION, True),
        (Task.RATING, SchemaKind.UNPAIRED, True),
        (Task.EDIT, SchemaKind.PREFERENCE, True),
        (Task.ACCEPT, SchemaKind.PREFERENCE, True),
        (Task.ACCEPT, SchemaKind.UNPAIRED, True),
        (Task.ACCEPT, SchemaKind.CORPUS, False),
        (Task.EDIT, SchemaKind.CORPUS, False),
    ],
)
def test_which_rows_a_task_takes(desk: Desk, task: Task, kind: SchemaKind, fits: bool) -> None:
    version = desk.version(kind=kind)
    if not fits:
        with pytest.raises(InvalidInput):
            desk.project(task=task, dataset=version.id)
        return
    item = desk.next(desk.project(task=task, dataset=version.id))
    # These show one answer, of a pair the one that the dataset prefers.
    assert item.b == ()
    assert not item.a[0]["content"].startswith("Poor")


def test_what_is_not_there(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.project(dataset="nothing")
    with pytest.raises(Unavailable):
        desk.project(source=Source.ARENA)
    with pytest.raises(Unavailable):
        desk.project(source=Source.CANDIDATES)
    with pytest.raises(NotFound):
        desk.annotation.next_items(ANA, "project_none")
    with pytest.raises(NotFound):
        desk.annotation.guideline(ANA, desk.project().id, 2)


def test_sides_stay_for_one_person_and_are_mixed(desk: Desk) -> None:
    project = desk.project(64, overlap=2)
    first, again = (desk.annotation.next_items(ANA, project.id, 50) for _ in range(2))
    assert [item.a for item in first] == [item.a for item in again]
    other = desk.annotation.next_items(BEN, project.id, 50)
    good = [["Good" in item.a[0]["content"] for item in items] for items in (first, other)]
    assert good[0] != good[1]
    # 50 fair coins: outside 8..42 once in a million.
    assert all(8 <= sum(side) <= 42 for side in good)


def test_ids_tell_nothing(desk: Desk) -> None:
    """Two projects over the same rows share no id, and ids are in no order."""
    version = desk.version(40)
    ids = [[i.id for i in desk.stored(desk.project(name=n, dataset=version.id))] for n in ("one", "two")]
    assert not set(ids[0]) & set(ids[1])
    assert ids[0] != sorted(ids[0])


def test_every_version_of_a_guideline_is_kept(desk: Desk) -> None:
    project = desk.project(guideline="Be kind.")
    first = desk.label(desk.next(project))
    changed = desk.annotation.change(LEAD, project.id, ProjectChange(guideline="Be strict."))
    same = desk.annotation.change(LEAD, project.id, ProjectChange(guideline="Be strict."))
    assert (changed.guideline, changed.guideline_version, same.guideline_version) == ("Be strict.", 2, 2)
    assert (first.guideline_version, desk.label(desk.next(project)).guideline_version) == (1, 2)
    assert [desk.annotation.guideline(ANA, project.id, n) for n in (1, 2)] == ["Be kind.", "Be strict."]


def test_a_change_is_seen_at_once_and_noted(desk: Desk) -> None:
    project = desk.project()
    change = ProjectChange(
        name="second", lease_seconds=60, gold_every=5, repeat_every=4, members=Members((), ("ben",))
    )
    changed = desk.annotation.change(LEAD, project.id, change)
    assert (changed.name, changed.lease_seconds, changed.gold_every) == ("second", 60, 5)
    assert (changed.repeat_every, changed.members) == (4, Members((), ("ben",)))
    assert desk.annotation.project(BEN, project.id) == changed
    with pytest.raises(Forbidden):
        desk.annotation.project(ANA, project.id)
    assert (
        desk.audit.recent(LOCAL_ADMIN)[0].detail == "name, members, lease_seconds, gold_every, repeat_every"
    )
    for impossible in ({"name": " "}, {"overlap": 0}, {"state": ProjectState.FAILED}):
        with pytest.raises(InvalidInput):
            desk.annotation.change(LEAD, project.id, ProjectChange(**impossible))


def test_a_closed_project_takes_nothing_until_it_is_opened(desk: Desk) -> None:
    project = desk.project()
    item = desk.next(project)
    desk.annotation.change(LEAD, project.id, ProjectChange(state=ProjectState.CLOSED))
    for call in (
        lambda: desk.next(project),
        lambda: desk.label(item),
        lambda: desk.annotation.undo(ANA, project.id, "u"),
        lambda: desk.annotation.item(ANA, project.id, item.id),
    ):
        with pytest.raises(Conflict, match="closed"):
            call()
    desk.annotation.release(ANA, project.id, [item.id])
    desk.annotation.change(LEAD, project.id, ProjectChange(state=ProjectState.OPEN))
    desk.label(desk.next(project))


def test_who_may_label_and_who_leads(desk: Desk) -> None:
    project = desk.project(members=Members((), ("ana",)))
    desk.label(desk.next(project))
    assert desk.annotation.projects(BEN) == ()
    assert desk.annotation.projects(OTHER_LEAD) == (project,)
    desk.next(project, LOCAL_ADMIN)
    for actor in (BEN, OTHER_LEAD):
        for call in (
            lambda actor=actor: desk.next(project, actor),
            lambda actor=actor: desk.annotation.own_labels(actor, project.id),
            lambda actor=actor: desk.annotation.renew(actor, project.id, []),
            lambda actor=actor: desk.annotation.label(actor, NewLabel(project.id, "x", "n", Verdict.A)),
        ):
            with pytest.raises(Forbidden):
                call()
    desk.annotation.change(OTHER_LEAD, project.id, ProjectChange(name="mine too"))
    with pytest.raises(Forbidden):
        desk.annotation.change(ANA, project.id, ProjectChange(name="not mine"))


def test_leads_label_only_where_somebody_says_so(desk: Desk) -> None:
    """They see labels before an item is done, so they are not blind; admins may always, as in single use."""
    project = desk.project()
    for lead in (LEAD, OTHER_LEAD):
        with pytest.raises(Forbidden):
            desk.next(project, lead)
    desk.annotation.change(LEAD, project.id, ProjectChange(members=Members((), (LEAD.name,))))
    desk.next(project, LEAD)
    desk.label(desk.next(project, LOCAL_ADMIN), actor=LOCAL_ADMIN)


def test_only_who_can_log_in_is_named(desk: Desk) -> None:
    able = {"ana", "ben"}
    desk.annotation = AnnotationService(
        desk.database, desk.datasets, desk.lineage, desk.audit, known=able.__contains__
    )
    with pytest.raises(InvalidInput, match="Nobody can log in as anna"):
        desk.project(members=Members((), ("ana", "anna")))
    project = desk.project(dataset="pairs", members=Members((), ("ana",)))
    with pytest.raises(InvalidInput, match="bem"):
        desk.annotation.change(LEAD, project.id, ProjectChange(members=Members((), ("ana", "bem"))))
    # Who was named before and is gone by now does not keep a lead from changing the rest.
    able.discard("ana")
    both = Members((), ("ana", "ben"))
    assert desk.annotation.change(LEAD, project.id, ProjectChange(members=both)).members == both


def test_roles(desk: Desk) -> None:
    project = desk.project()
    for call in (
        lambda: desk.annotation.open_project(ANA, replace(_new(project), name="x")),
        lambda: desk.annotation.judgements(ANA),
        lambda: desk.annotation.projects(GUEST),
        lambda: desk.annotation.next_items(GUEST, project.id),
        lambda: desk.annotation.progress(GUEST, project.id),
    ):
        with pytest.raises(Forbidden):
            call()


def _new(project: Project) -> Any:
    from studio.annotation import NewProject

    return NewProject(project.name, dataset=project.dataset_version_id or "")


def test_others_are_hidden_until_everybody_is_done(desk: Desk) -> None:
    project = desk.project(1, overlap=2)
    item = desk.next(project)
    with pytest.raises(Forbidden, match="yours"):
        desk.annotation.others(ANA, project.id, item.id)
    desk.label(item, Verdict.A)
    with pytest.raises(Forbidden, match="needs"):
        desk.annotation.others(ANA, project.id, item.id)
    theirs = desk.next(project, BEN)
    better = Verdict.A if theirs.a == item.a else Verdict.B
    desk.label(theirs, better, BEN, comment="yes", strength=2)
    (seen,) = desk.annotation.others(ANA, project.id, item.id)
    # Both preferred the same answer, so Ana sees Ben's verdict on her own side.
    assert (seen.verdict, seen.annotator, seen.comment) == (Verdict.A, "Person 1", "yes")
    with pytest.raises(Forbidden):
        desk.annotation.others(CAT, project.id, item.id)
    # To have looked makes one's own label final; Ben, who did not, takes his back.
    desk.annotation.undo(BEN, project.id, "u")
    with pytest.raises(Forbidden):
        desk.annotation.others(ANA, project.id, item.id)


def test_a_lead_sees_names_but_no_earlier(desk: Desk) -> None:
    project = desk.project(1, overlap=2, members=Members((Role.ANNOTATOR, Role.RESEARCHER)))
    desk.label(desk.next(project), Verdict.TIE)
    item = desk.next(project, LEAD)
    with pytest.raises(Forbidden):
        desk.annotation.others(LEAD, project.id, item.id)
    desk.label(item, Verdict.TIE, LEAD)
    assert [label.annotator for label in desk.annotation.others(LEAD, project.id, item.id)] == ["ana"]


def test_gold_is_mixed_in_and_counts_for_nobody(desk: Desk) -> None:
    gold = desk.version(4, name="known", kind=SchemaKind.UNPAIRED)
    rows = desk.version(30, name="told", kind=SchemaKind.INSTRUCTION)
    project = desk.project(task=Task.ACCEPT, dataset=rows.id, gold=gold.id, gold_every=5)
    assert (project.items, len(desk.stored(project))) == (30, 34)
    items = desk.label_all(project, verdict=Verdict.ACCEPT)
    is_gold = ["Known" in item.prompt[0]["content"] for item in items]
    assert (sum(is_gold), len(items)) == (4, 34)
    for start in range(0, 20, 5):
        assert sum(is_gold[start : start + 5]) == 1
    entries = desk.annotation.store.standing(project.id)
    truths = {stored.position: stored.truth for stored in desk.stored(project)}
    assert {truths[e.position] for e in entries if e.kind is ItemKind.GOLD} == {
        Standing.ACCEPT,
        Standing.REJECT,
    }
    progress = desk.annotation.progress(ANA, project.id)
    assert (progress.labelled, progress.done, progress.needed) == (34, 30, 30)
    parents = {edge.parent.id for e in entries for edge in desk.lineage.parents(Node("label", e.label.id))}
    assert parents == {gold.id, rows.id}
    # Everybody gets the gold, though the data are done.
    assert desk.ids(project, BEN) == []


def known_pairs(desk: Desk) -> DatasetVersion:
    rows = [{**pair(n), "prompt": [{"role": "user", "content": f"Known {n}?"}]} for n in range(3)]
    return desk.datasets.create(LEAD, NewVersion("known", SchemaKind.PREFERENCE, {Split.TRAIN: rows}, ()))


def test_gold_is_not_what_is_labelled_nor_on_its_prompts(desk: Desk) -> None:
    version = desk.version(12)
    rows = [{**thumb(n), "prompt": pair(n)["prompt"]} for n in range(3)]
    other = desk.datasets.create(LEAD, NewVersion("asked", SchemaKind.UNPAIRED, {Split.TRAIN: rows}, ()))
    told = desk.version(3, name="told", kind=SchemaKind.INSTRUCTION)
    with pytest.raises(InvalidInput, match="is what is labelled: 12") as same:
        desk.project(dataset=version.id, gold=version.id)
    assert len(same.value.details) == 11
    assert same.value.details[0] == "'question 0?'"
    with pytest.raises(InvalidInput, match="has prompts of told@1: 3"):
        desk.project(task=Task.ACCEPT, dataset=told.id, gold=other.id)
    assert desk.annotation.projects(LEAD) == ()
    # Nothing was protected by what was refused.
    assert desk.datasets.protected(LEAD, desk.datasets.prompts(LEAD, version.id)) == {}


def test_gold_of_pairs_is_known_and_never_a_judgement(desk: Desk) -> None:
    gold = known_pairs(desk)
    project = desk.project(12, gold=gold.id, gold_every=2)
    desk.label_all(project)
    kinds = [entry.kind for entry in desk.annotation.store.standing(project.id)]
    assert kinds.count(ItemKind.GOLD) == 3
    assert len(desk.annotation.judgements(LEAD, project.id)) == 12
    assert {i.truth for i in desk.stored(project) if i.kind is ItemKind.GOLD} == {Standing.FIRST}


def test_gold_is_never_trained_on(desk: Desk) -> None:
    gold = desk.version(2, name="known", kind=SchemaKind.UNPAIRED)
    rows = desk.version(3, name="told", kind=SchemaKind.INSTRUCTION)
    desk.project(task=Task.ACCEPT, dataset=rows.id, gold=gold.id)
    keys = desk.datasets.prompts(LEAD, gold.id)
    assert set(desk.datasets.protected(LEAD, keys)) == keys
    assert desk.datasets.protected(LEAD, desk.datasets.prompts(LEAD, rows.id)) == {}


def test_gold_must_be_of_the_tasks_kind(desk: Desk) -> None:
    desk.version(3, name="thumbs", kind=SchemaKind.UNPAIRED)
    with pytest.raises(InvalidInput):
        desk.project(gold="thumbs")
    with pytest.raises(InvalidInput):
        desk.version(3, name="told", kind=SchemaKind.INSTRUCTION)
        desk.project(task=Task.ACCEPT, dataset="told", gold="pairs", name="x")


def test_repeats_are_earlier_items_under_another_id(desk: Desk) -> None:
    project = desk.project(30, repeat_every=4)
    items = desk.label_all(project)
    numbers = [number_of(item) for item in items]
    repeated = {n for n in numbers if numbers.count(n) == 2}
    assert len(items) > 34
    assert len(repeated) == len(items) - 30
    assert len({item.id for item in items}) == len(items)
    for number in repeated:
        first, second = (place for place, found in enumerate(numbers) if found == number)
        assert second - first >= 8
    entries = desk.annotation.store.standing(project.id)
    assert sum(e.kind is ItemKind.REPEAT for e in entries) == len(repeated)
    assert {e.position for e in entries if e.kind is ItemKind.REPEAT} <= set(range(30))
    assert len(desk.annotation.judgements(LEAD, project.id)) == 30
    assert desk.annotation.progress(ANA, project.id).done == 30


def test_suggestions_are_shown_from_where_one_sits(desk: Desk) -> None:
    project = _with_suggestions(desk, 12)
    store = desk.annotation.store
    store.add_suggestions(project.id, dict.fromkeys(range(11), (Standing.FIRST, 2.5)))
    items = desk.annotation.next_items(ANA, project.id, 12)
    for item in items[:11]:
        assert item.suggestion is not None
        side = item.a if item.suggestion.verdict is Verdict.A else item.b
        assert "Good" in side[0]["content"]
        assert (item.suggestion.model, item.suggestion.margin) == ("helper", 2.5)
    assert items[11].suggestion is None
    # Of what came later nobody says that it was shown.
    store.add_suggestions(project.id, {11: (Standing.TIE, 0.0)})
    shown, unshown = desk.label(items[0]), desk.label(items[11])
    assert items[0].suggestion is not None
    assert (shown.suggested, unshown.suggested) == (items[0].suggestion.verdict, None)


def test_suggestions_are_not_shown_unless_the_project_wants_them(desk: Desk) -> None:
    project = desk.project()
    desk.annotation.store.add_suggestions(project.id, {0: (Standing.FIRST, 1.0)})
    item = desk.next(project)
    assert item.suggestion is None
    assert desk.label(item).suggested is None


class _Models:
    """Stands for the jobs that models need; it only remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, actor: Actor, new: Any) -> None:
        if new.suggestion_model == "unknown":
            raise NotFound("There is no model unknown.")

    def write_candidates(self, actor: Actor, project: Project) -> None:
        self.asked.append(f"write {project.id}")

    def suggest(self, actor: Actor, project: Project) -> None:
        self.asked.append(f"suggest {project.id}")


def _with_suggestions(desk: Desk, items: int) -> Project:
    desk.annotation.subscribe(_Models())
    return desk.project(items, suggestion_model="helper")


def test_candidates_are_waited_for(desk: Desk) -> None:
    models = _Models()
    desk.annotation.subscribe(models)
    project = desk.project(source=Source.CANDIDATES, models=("a", "b"))
    assert (project.state, project.items, models.asked) == (
        ProjectState.PREPARING,
        0,
        [f"write {project.id}"],
    )
    with pytest.raises(Conflict, match="preparing"):
        desk.next(project)
    with pytest.raises(Conflict):
        desk.annotation.change(LEAD, project.id, ProjectChange(state=ProjectState.OPEN))
    answers = [({"role": "assistant", "content": text},) for text in ("one", "two")]
    prompt: tuple[Message, ...] = ({"role": "user", "content": "Question 7?"},)
    written = StoredItem("ignored", 99, ItemKind.DATA, prompt, answers[0], answers[1])  # type: ignore[arg-type]
    desk.annotation.store.add_items(project.id, (written,))
    desk.annotation.store.set_state(project.id, ProjectState.OPEN)
    item = desk.next(project)
    assert (number_of(item), desk.annotation.project(LEAD, project.id).items) == (7, 1)
    with pytest.raises(NotFound):
        desk.project(suggestion_model="unknown", name="another", dataset="pairs")


@dataclass(frozen=True)
class _Battle:
    number: int

    @property
    def id(self) -> str:
        return f"battle_{self.number}"

    @property
    def prompt(self) -> tuple[Message, ...]:
        return ({"role": "user", "content": f"Question {self.number}?"},)

    @property
    def first(self) -> tuple[Message, ...]:
        return ({"role": "assistant", "content": f"One {self.number}."},)

    @property
    def second(self) -> tuple[Message, ...]:
        return ({"role": "assistant", "content": f"Two {self.number}."},)

    @property
    def generations(self) -> tuple[str, str]:
        return (f"gen_{self.number}a", f"gen_{self.number}b")


class _Arena:
    def __init__(self) -> None:
        self.fought: list[_Battle] = []

    def fight(self, count: int) -> None:
        self.fought += [_Battle(len(self.fought) + n) for n in range(1, count + 1)]

    def __call__(self, actor: Actor, after: int, limit: int) -> list[_Battle]:
        return [battle for battle in self.fought if battle.number > after][:limit]


@pytest.fixture
def arena(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> _Arena:
    monkeypatch.setattr("studio.annotation.battles._PAUSE_SECONDS", 0.0)
    found = _Arena()
    desk.battles = found
    desk.restart()
    return found


def test_battles_join_as_they_are_fought(desk: Desk, arena: _Arena) -> None:
    project = desk.project(source=Source.ARENA, overlap=2)
    assert desk.ids(project) == []
    arena.fight(3)
    items = desk.label_all(project)
    assert [number_of(item) for item in items] == [1, 2, 3]
    arena.fight(2)
    desk.restart()
    assert [number_of(item) for item in desk.label_all(project)] == [4, 5]
    assert [number_of(item) for item in desk.label_all(project, BEN)] == [1, 2, 3, 4, 5]
    assert desk.annotation.project(ANA, project.id).items == 5
    judged = desk.annotation.judgements(LEAD, project.id)
    node = Node("label", judged[0].id)
    assert {edge.parent for edge in desk.lineage.ancestors(node)} == {
        Node("battle", "battle_1"),
        Node("generation", "gen_1a"),
        Node("generation", "gen_1b"),
    }


def test_a_target_ends_the_intake(desk: Desk, arena: _Arena) -> None:
    project = desk.project(source=Source.ARENA, target=4)
    arena.fight(10)
    assert len(desk.label_all(project)) == 4
    arena.fight(10)
    assert desk.ids(project, BEN) == []
