"""Private datasets and models: whoever is not named does not see, use or hear of them, by any way in.

Everything private here is called after ``SECRET``, so one search through an answer finds a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from studio.accounts import NewAccount, NewToken, Scope
from studio.annotation import Members, NewLabel, NewProject, Verdict
from studio.api import create_api
from studio.arena import BattleStarted, Contender, Matchup, NewThumb, NewVote
from studio.core import (
    SYSTEM,
    Actor,
    Conflict,
    Forbidden,
    InvalidInput,
    Node,
    NotFound,
    Role,
    Settings,
    SharingChange,
    Visibility,
)
from studio.datasets import (
    DatasetVersion,
    ImportRequest,
    NewVersion,
    Outcome,
    PreferenceSettings,
    SchemaKind,
    Split,
)
from studio.evaluation import EvaluationKind
from studio.registry import BaseSource, ModelKind, ModelVersion, NewWeights
from studio.serving import ChatMessage, RowRequest, Sampling, VariantSpec
from studio.studio import Studio, open_studio
from studio.training import Run, Stage, StartRun
from tests.pages.talking import with_backend
from tests.unit.api.conftest import ADA, ADDRESS, PASSWORD, with_cheap_passwords

SECRET = "sekret"
OLGA = Actor("olga", Role.RESEARCHER)  # owns what is private
PIA = Actor("pia", Role.RESEARCHER)  # is named
REX = Actor("rex", Role.RESEARCHER)  # is not
STEN = Actor("sten", Role.STAKEHOLDER)
HELLO = (ChatMessage(role="user", content="hello"),)


def pair(question: str, answer: str = "yes") -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": answer}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }


def talk(question: str) -> dict[str, object]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "yes"}]
    return {"messages": turns}


def make(
    studio: Studio, actor: Actor, name: str, words: str, kind: SchemaKind = SchemaKind.INSTRUCTION
) -> DatasetVersion:
    row = talk if kind is SchemaKind.INSTRUCTION else pair
    rows = {Split.TRAIN: [row(f"{words} 1"), row(f"{words} 2")], Split.VALIDATION: [row(f"{words} 3")]}
    return studio.datasets.create(actor, NewVersion(name, kind, rows, ({"step": "test"},)))


def adapter(studio: Studio, actor: Actor, base: ModelVersion, name: str) -> ModelVersion:
    folder = studio.settings.home / "runs" / name / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    new = NewWeights(name, ModelKind.ADAPTER, folder, base.id, base.id, f"run_of_{name}", 1024)
    return studio.registry.register_weights(actor, new)


def recipe(model: str, dataset: str, output: str = "") -> str:
    return f"model: {model}\ndataset: {dataset}\noutput: '{output}'\nmethod: lora\n"


def keep_private(studio: Studio, node: Node, *people: str, roles: tuple[Role, ...] = ()) -> None:
    studio.access.share(OLGA, node, SharingChange(Visibility.PRIVATE, roles, people))


def of_model(version: ModelVersion) -> Node:
    return Node("model", version.model_id)


def of_dataset(version: DatasetVersion) -> Node:
    return Node("dataset", version.dataset_id)


@dataclass(frozen=True)
class World:
    """A studio in which olga keeps a dataset and a model private, and has used both for everything."""

    studio: Studio
    open_data: DatasetVersion
    base: ModelVersion
    data: DatasetVersion
    pairs: DatasetVersion
    model: ModelVersion
    run: Run
    evaluation: str
    battle: str
    generation: str
    conversation: str

    @property
    def identities(self) -> tuple[str, ...]:
        """Every id that leads to something private."""
        return (self.data.id, self.data.dataset_id, self.pairs.id, self.model.id, self.model.model_id)


@pytest.fixture
def world(settings: Settings, tiny_model: Path) -> Iterator[World]:
    opened = with_cheap_passwords(open_studio(settings))
    studio, _ = with_backend(opened)
    studio.accounts.create_first("ada", PASSWORD)
    for actor in (OLGA, PIA, REX, STEN):
        studio.accounts.add(ADA, NewAccount(actor.name, actor.role, PASSWORD))
    yield build(studio, tiny_model)
    opened.close()


def build(studio: Studio, tiny_model: Path) -> World:
    base = studio.registry.register_base(ADA, BaseSource(str(tiny_model), "tiny"))
    open_data = make(studio, REX, "open-data", "what is open")
    data = make(studio, OLGA, f"{SECRET}-data", f"what is {SECRET}")
    pairs = make(studio, OLGA, f"{SECRET}-pairs", f"which {SECRET}", SchemaKind.PREFERENCE)
    model = adapter(studio, OLGA, base, f"{SECRET}-model")
    studio.registry.alias(OLGA, f"{SECRET}-alias", model.id)
    text = recipe(model.reference, data.reference, f"{SECRET}-next")
    run = studio.training.start(OLGA, StartRun(Stage.SFT, text, f"{SECRET} run"))
    evaluation = studio.evaluation.start(
        OLGA, EvaluationKind.ANSWER_LOSS, (model.reference, base.reference), data.reference
    )
    studio.serving.deploy(
        OLGA, f"{SECRET}-door", (VariantSpec("a", model.id, 1.0), VariantSpec("b", base.id, 1.0))
    )
    conversation = studio.arena.begin(OLGA, Matchup(Contender(model.id), Contender(base.id), blind=False))
    [battle] = [
        e.battle_id for e in studio.arena.turn(OLGA, conversation, SECRET) if isinstance(e, BattleStarted)
    ]
    fought = studio.arena.battle(OLGA, battle)
    [side] = [side for side in (fought.a, fought.b) if side.model_version_id == model.id]
    studio.arena.vote(OLGA, NewVote(battle, Outcome.A, "nonce-1", comment=SECRET))
    studio.arena.thumb(OLGA, NewThumb(side.generation_id, True, "nonce-2"))
    for node in (of_dataset(data), of_dataset(pairs), of_model(model)):
        keep_private(studio, node, "pia")
    return World(
        studio,
        open_data,
        base,
        data,
        pairs,
        model,
        run,
        evaluation.id,
        battle,
        side.generation_id,
        conversation,
    )


def test_lists_leave_out_what_is_private(world: World) -> None:
    studio = world.studio
    seen = (
        studio.datasets.list(REX),
        studio.registry.list(REX),
        studio.registry.aliases(REX),
        studio.training.list(REX),
        studio.evaluation.list(REX),
        studio.jobs.list(REX),
        studio.serving.deployments(REX),
        studio.serving.generations(REX),
        studio.arena.battles(REX),
        studio.arena.votes(REX),
        studio.arena.judgements(REX),
        studio.arena.opinions(REX),
        studio.arena.experiments(REX),
    )
    assert SECRET not in repr(seen)
    assert not any(identity in repr(seen) for identity in (*world.identities, world.run.id))
    assert [one.name for one in seen[0]] == ["open-data"]
    assert [one.reference for one in seen[1]] == ["tiny@1"]


def test_those_who_are_named_see_and_use_it(world: World) -> None:
    studio = world.studio
    for actor in (OLGA, PIA, ADA, SYSTEM):
        assert studio.datasets.version(actor, f"{SECRET}-data").id == world.data.id
        assert studio.registry.version(actor, f"{SECRET}-alias").id == world.model.id
        assert studio.training.get(actor, world.run.id).id == world.run.id
        assert {job.kind for job in studio.jobs.list(actor)} == {"training", "evaluation"}
        assert [one.name for one in studio.serving.deployments(actor)] == [f"{SECRET}-door"]
        assert len(studio.arena.judgements(actor)) == len(studio.arena.opinions(actor)) == 1
        assert studio.arena.battle(actor, world.battle).a.model


def by_any_name_of_the_data(world: World) -> tuple[str, ...]:
    return (world.data.id, world.data.dataset_id, f"{SECRET}-data", f"{SECRET}-data@1")


def by_any_name_of_the_model(world: World) -> tuple[str, ...]:
    return (world.model.id, f"{SECRET}-model", f"{SECRET}-model@1", f"{SECRET}-alias")


def test_a_private_dataset_cannot_be_read_by_any_reference(world: World) -> None:
    datasets = world.studio.datasets
    reads: tuple[Callable[[str], object], ...] = (
        lambda name: datasets.version(REX, name),
        lambda name: datasets.versions(REX, name),
        lambda name: datasets.page(REX, name, Split.TRAIN, 0, 10),
        lambda name: datasets.report(REX, name),
        lambda name: datasets.rejects(REX, name),
        lambda name: datasets.prompts(REX, name),
        lambda name: datasets.protect(REX, name, None, "gold"),
        lambda name: datasets.join(REX, "mine", (name,)),
        lambda name: datasets.build_preferences(REX, "mine", (), (), PreferenceSettings(), (name,)),
        lambda name: datasets.create(
            REX, NewVersion("mine", SchemaKind.INSTRUCTION, {Split.TRAIN: [talk("q")]}, (), (name,))
        ),
        lambda name: world.studio.evaluation.start(REX, "answer_loss", "tiny", name),
    )
    for read in reads:
        for name in by_any_name_of_the_data(world):
            with pytest.raises(NotFound) as refused:
                read(name)
            assert SECRET not in str(refused.value).replace(name, "")


def test_a_private_model_cannot_be_used_by_any_reference(world: World) -> None:
    studio = world.studio
    row = Sampling()
    uses: tuple[Callable[[str], object], ...] = (
        lambda name: studio.registry.version(REX, name),
        lambda name: studio.registry.ancestry(REX, name),
        lambda name: studio.registry.alias(REX, "mine", name),
        lambda name: studio.evaluation.start(REX, "answer_loss", name, "open-data"),
        lambda name: studio.serving.stream(REX, (RowRequest(name, HELLO, row),), user="r", source="chat"),
        lambda name: studio.serving.complete(REX, RowRequest(name, HELLO, row), user="r", source="chat"),
        lambda name: studio.arena.begin(REX, Matchup(Contender(name), Contender("tiny"), blind=True)),
        lambda name: studio.arena.begin(STEN, Matchup(Contender("tiny"), Contender(name), blind=True)),
    )
    for use in uses:
        for name in by_any_name_of_the_model(world):
            with pytest.raises(NotFound) as refused:
                use(name)
            assert SECRET not in str(refused.value).replace(name, "")
    for name in by_any_name_of_the_model(world):
        with pytest.raises(InvalidInput, match="cannot be deployed"):
            studio.serving.deploy(REX, "mine", (VariantSpec("a", name, 1.0),))


@pytest.mark.parametrize("part", ["model", "dataset"])
def test_training_on_it_is_refused_as_if_it_were_not_there(world: World, part: str) -> None:
    names = by_any_name_of_the_model(world) if part == "model" else by_any_name_of_the_data(world)
    for name in names:
        chosen = {"model": "tiny", "dataset": "open-data", part: name}
        with pytest.raises(InvalidInput) as refused:
            world.studio.training.start(REX, StartRun(Stage.SFT, recipe(**chosen)))
        assert any(f"{part}: " in line for line in refused.value.details)


def test_what_was_made_with_it_is_not_there_either(world: World) -> None:
    studio = world.studio
    reads: tuple[Callable[[], object], ...] = (
        lambda: studio.training.get(REX, world.run.id),
        lambda: studio.training.points(REX, world.run.id),
        lambda: studio.training.log(REX, world.run.id),
        lambda: studio.training.stop(REX, world.run.id),
        lambda: studio.training.resume(REX, world.run.id),
        lambda: studio.jobs.get(REX, world.run.job_id),
        lambda: studio.jobs.log(REX, world.run.job_id),
        lambda: studio.jobs.request_stop(REX, world.run.job_id),
        lambda: studio.jobs.progress(REX, world.evaluation),
        lambda: studio.evaluation.result(REX, world.evaluation),
        lambda: studio.serving.deployment(REX, f"{SECRET}-door"),
        lambda: studio.serving.history(REX, f"{SECRET}-door"),
        lambda: studio.serving.pick(STEN, f"{SECRET}-door", "u"),
        lambda: studio.serving.predict(STEN, f"{SECRET}-door", "u", HELLO),
        lambda: studio.serving.retire(REX, f"{SECRET}-door"),
        lambda: studio.serving.rollback(REX, f"{SECRET}-door", 1),
        lambda: studio.serving.generation(REX, world.generation),
        lambda: studio.arena.deployment_matchup(STEN, f"{SECRET}-door", blind=True),
        lambda: studio.arena.battle(REX, world.battle),
        lambda: studio.arena.vote(REX, NewVote(world.battle, Outcome.B, "nonce-3")),
        lambda: studio.arena.thumb(REX, NewThumb(world.generation, False, "nonce-4")),
        lambda: studio.arena.turn(REX, world.conversation, "go on"),
    )
    for number, read in enumerate(reads):
        with pytest.raises(NotFound):
            read()
            pytest.fail(f"read {number} was answered")
    assert studio.serving.variant_answers(REX, f"{SECRET}-door") == {}


def test_a_name_that_is_taken_says_no_more_than_that(world: World) -> None:
    studio = world.studio
    takes: tuple[Callable[[], object], ...] = (
        lambda: make(studio, REX, f"{SECRET}-data", "mine"),
        lambda: studio.registry.alias(REX, f"{SECRET}-alias", "tiny"),
        lambda: studio.serving.deploy(REX, f"{SECRET}-door", (VariantSpec("a", "tiny", 1.0),)),
        lambda: studio.registry.start_download(REX, BaseSource("some/model", f"{SECRET}-model")),
    )
    for take in takes:
        with pytest.raises(Conflict, match="is taken"):
            take()
    with pytest.raises(InvalidInput) as refused:
        studio.training.start(REX, StartRun(Stage.SFT, recipe("tiny", "open-data", f"{SECRET}-model")))
    assert "is taken" in str(refused.value)
    assert studio.datasets.version(OLGA, f"{SECRET}-data").number == 1


def test_the_files_of_the_studio_are_no_way_round(world: World, tmp_path: Path) -> None:
    studio = world.studio
    paths = [world.data.file(Split.TRAIN), studio.settings.database_path]
    (tmp_path / "link.parquet").symlink_to(paths[0])
    for path in (*paths, tmp_path / "link.parquet"):
        with pytest.raises(Forbidden):
            studio.datasets.inspect(REX, path)
        with pytest.raises(Forbidden):
            studio.datasets.import_file(REX, ImportRequest(path, "mine"))
    with pytest.raises(Forbidden):
        studio.registry.register_base(REX, BaseSource(str(world.model.path), "mine"))


def test_what_is_made_of_something_private_is_private(world: World) -> None:
    studio = world.studio
    joined = studio.datasets.join(PIA, "joined", (f"{SECRET}-pairs",))
    with pytest.raises(NotFound):
        studio.datasets.version(REX, joined.id)
    with pytest.raises(NotFound):
        studio.datasets.version(OLGA, joined.id)  # not even to the owner of the source
    make(studio, REX, "pairs", "what is better", SchemaKind.PREFERENCE)
    with pytest.raises(Conflict, match="shared with the team"):
        studio.datasets.join(PIA, "pairs", (f"{SECRET}-pairs",))
    run = studio.training.start(PIA, StartRun(Stage.SFT, recipe("tiny", f"{SECRET}-data", "fresh")))
    entry = studio.registry.register_weights(
        PIA,
        NewWeights(
            "fresh",
            ModelKind.ADAPTER,
            world.model.path,
            world.base.id,
            world.base.id,
            run.id,
            1,
            (of_dataset(world.data),),
        ),
    )
    with pytest.raises(NotFound):
        studio.registry.version(REX, entry.id)


def test_a_result_that_is_shared_does_not_name_what_it_came_from(world: World) -> None:
    studio = world.studio
    joined = studio.datasets.join(OLGA, "shared-join", (f"{SECRET}-pairs",))
    studio.access.share(OLGA, of_dataset(joined), SharingChange(Visibility.TEAM))
    seen = studio.datasets.version(REX, "shared-join")
    assert SECRET not in repr(seen)
    assert world.pairs.id not in repr(seen)
    assert SECRET in repr(studio.datasets.version(OLGA, "shared-join"))


def test_a_role_can_be_let_in_and_out_again_at_once(world: World) -> None:
    studio = world.studio
    keep_private(studio, of_model(world.model), roles=(Role.STAKEHOLDER,))
    assert studio.serving.deployment(STEN, f"{SECRET}-door").name == f"{SECRET}-door"
    with pytest.raises(NotFound):
        studio.registry.version(PIA, world.model.id)
    keep_private(studio, of_model(world.model))
    with pytest.raises(NotFound):
        studio.serving.deployment(STEN, f"{SECRET}-door")


def test_a_run_goes_on_when_what_it_uses_is_made_private_meanwhile(world: World) -> None:
    studio = world.studio
    run = studio.training.start(REX, StartRun(Stage.SFT, recipe("tiny", "open-data", "later")))
    studio.access.share(ADA, of_dataset(world.open_data), SharingChange(Visibility.PRIVATE, (), (), "olga"))
    with pytest.raises(NotFound):
        studio.training.get(REX, run.id)
    studio.training.settle(())
    assert not studio.training.get(OLGA, run.id).state.final


def client_of(world: World, actor: Actor) -> TestClient:
    every = frozenset(Scope) - {Scope.ADMIN}
    _, secret = world.studio.accounts.create_token(actor, NewToken("test", every))
    return TestClient(
        create_api(world.studio),
        base_url=ADDRESS,
        headers={"authorization": f"Bearer {secret}"},
        follow_redirects=False,
    )


def test_no_rest_list_tells_of_it(world: World) -> None:
    with client_of(world, REX) as client:
        paths = [path for path, ways in client.get("/openapi.json").json()["paths"].items() if "get" in ways]
        lists = [path for path in paths if "{" not in path]
        assert len(lists) > 12
        for path in lists:
            answer = client.get(path)
            assert answer.status_code < 500, path
            assert SECRET not in answer.text, path
            assert not any(identity in answer.text for identity in world.identities), path


def test_no_rest_route_answers_for_it(world: World) -> None:
    parts = {
        "{reference}": (*by_any_name_of_the_data(world), *by_any_name_of_the_model(world)),
        "{run_id}": (world.run.id,),
        "{job_id}": (world.run.job_id, world.evaluation),
        "{name}": (f"{SECRET}-door",),
        "{battle_id}": (world.battle,),
        "{generation_id}": (world.generation,),
        "{conversation_id}": (world.conversation,),
    }
    asked = 0
    with client_of(world, REX) as client:
        for path, ways in client.get("/openapi.json").json()["paths"].items():
            part = next((part for part in parts if part in path), "")
            if "get" not in ways or not part or path.startswith("/accounts"):
                continue
            for value in parts[part]:
                answer = client.get(path.replace(part, value))
                asked += 1
                assert answer.status_code in (403, 404), (path, value, answer.text)
                assert SECRET not in answer.text.replace(value, ""), path
    assert asked > 40


def test_rest_changes_are_refused_too(world: World) -> None:
    variant = {"name": "a", "model": world.model.id}
    messages = [{"role": "user", "content": "hello"}]
    changes = {
        "/deploy": {"name": "mine", "variants": [variant]},
        "/predict": {"deployment": f"{SECRET}-door", "messages": messages, "user": "u"},
        "/conversations": {"first": world.model.id, "second": "tiny"},
        "/evaluations": {"kind": "answer_loss", "models": [world.model.id], "dataset": "open-data"},
        "/models/aliases": {"name": "mine", "model": world.model.id},
        "/datasets/join": {"dataset": "mine", "versions": [world.data.id]},
        "/train/sft": {"recipe": {"model": world.model.id, "dataset": "open-data"}},
    }
    with client_of(world, REX) as client:
        for path, body in changes.items():
            answer = client.post(path, json=body)
            assert answer.status_code in (404, 422), (path, answer.text)
            assert SECRET not in answer.text.replace(f"{SECRET}-door", ""), path
        assert client.post("/predict", json=changes["/predict"]).status_code == 404


def test_sharing_is_the_owners_and_an_admins_to_change(world: World) -> None:
    route = f"/datasets/{world.data.id}/sharing"
    with client_of(world, REX) as client:
        assert client.get(route).status_code == 404
        assert client.put(route, json={"visibility": "team"}).status_code == 404
        assert client.get("/datasets/open-data/sharing").json()["may_share"] is True
    with client_of(world, PIA) as client:
        assert client.get(route).json()["people"] == ["pia"]
        assert client.put(route, json={"visibility": "team"}).status_code == 403
        assert client.put("/datasets/open-data/sharing", json={"owner": "pia"}).status_code == 403
    with client_of(world, OLGA) as client:
        made = client.put(route, json={"people": ["rex"], "roles": ["annotator"]}).json()
        assert (made["visibility"], made["people"], made["roles"]) == ("private", ["rex"], ["annotator"])
    assert world.studio.datasets.version(REX, world.data.id)
    assert [
        entry.detail for entry in world.studio.audit.search(ADA, verb="shared", person="olga", limit=1)
    ] == ["with every annotator, 1 by name"]


def test_pages_show_nothing_of_it(world: World) -> None:
    from pages import data, home, models, runs
    from tests.pages.conftest import visiting

    theirs = replace(world.studio, actor=REX)
    for page, name in ((data, "data"), (models, "models"), (runs, "runs")):
        shown = repr(page.view(theirs, visiting(tab=name)))
        assert SECRET not in shown, name
    assert SECRET not in repr(home.view(theirs))
    opened = repr(data.view(theirs, visiting(tab="data", version=world.data.id)))
    opened += repr(models.view(theirs, visiting(tab="models", model=world.model.id)))
    opened += repr(runs.view(theirs, visiting(tab="runs", run=world.run.id)))
    assert SECRET not in opened


def test_labelling_what_is_private_is_for_those_who_are_named(world: World) -> None:
    studio = world.studio
    ann = Actor("ann", Role.ANNOTATOR)
    studio.accounts.add(ADA, NewAccount(ann.name, ann.role, PASSWORD))
    new = NewProject("", dataset=world.pairs.reference, members=Members((Role.ANNOTATOR,), ("ann",)))
    project = studio.annotation.open_project(OLGA, new)
    [item] = studio.annotation.next_items(ann, project.id, 1)
    studio.annotation.label(ann, NewLabel(project.id, item.id, "nonce-5", Verdict.A))
    assert len(studio.annotation.judgements(PIA)) == 1
    assert [one.id for one in studio.annotation.projects(OLGA)] == [project.id]
    for stranger in (REX, Actor("bea", Role.ANNOTATOR)):
        assert studio.annotation.projects(stranger) == ()
        for ask in (studio.annotation.project, studio.annotation.next_items, studio.annotation.progress):
            with pytest.raises(NotFound):
                ask(stranger, project.id)
    assert studio.annotation.judgements(REX) == ()
    with pytest.raises(NotFound):
        studio.review.dashboard(REX, project.id)
