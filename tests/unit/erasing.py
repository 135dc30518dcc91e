"""A home in which one person has done everything that leaves a name, and what must be true once erased."""

from __future__ import annotations

from pathlib import Path

from studio.accounts import NewAccount, NewToken, Scope
from studio.annotation import Members, NewLabel, NewProject, Verdict
from studio.arena import BattleStarted, Contender, Matchup, NewThumb, NewVote
from studio.core import Actor, Node, Role, SharingChange, Visibility
from studio.datasets import DatasetVersion, NewVersion, Outcome, PreferenceSettings, SchemaKind, Split
from studio.registry import BaseSource, ModelKind, ModelVersion, NewWeights
from studio.serving import VariantSpec
from studio.studio import Studio
from studio.training import Stage, StartRun
from tests.pages.talking import with_backend

NAME = "zacharias"
PASSWORD = "four unrelated words"
ADA = Actor("ada", Role.ADMIN)
ZACH = Actor(NAME, Role.RESEARCHER)
RULES = PreferenceSettings(validation_fraction=0)


def pair(question: str) -> dict[str, object]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }


def preferences(studio: Studio, actor: Actor, name: str) -> DatasetVersion:
    rows = {Split.TRAIN: [pair(f"{name} {n}") for n in range(3)]}
    return studio.datasets.create(actor, NewVersion(name, SchemaKind.PREFERENCE, rows, ({"step": "test"},)))


def adapter(studio: Studio, actor: Actor, base: ModelVersion, run_id: str) -> ModelVersion:
    folder = studio.settings.home / "runs" / run_id / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    new = NewWeights("taught", ModelKind.ADAPTER, folder, base.id, base.id, run_id, 1024)
    return studio.registry.register_weights(actor, new)


def busy_home(opened: Studio, tiny_model: Path) -> dict[str, str]:
    """Let zacharias vote, label, thumb, build, train, deploy and share; the ids of what came of it."""
    studio, backend = with_backend(opened)
    studio.accounts.create_first("ada", PASSWORD)
    studio.accounts.add(ADA, NewAccount(NAME, Role.RESEARCHER, PASSWORD, "Zacharias Z"))
    studio.accounts.log_in(NAME, PASSWORD, "127.0.0.1")
    studio.accounts.create_token(ZACH, NewToken("laptop", frozenset({Scope.READ})))
    base = studio.registry.register_base(ZACH, BaseSource(str(tiny_model), "tiny"))
    other = preferences(studio, ADA, "untouched")
    mine = preferences(studio, ZACH, "mine")
    studio.datasets.protect(ZACH, mine.id, Split.VALIDATION, "gold")
    studio.access.share(ZACH, Node("dataset", mine.dataset_id), SharingChange(Visibility.PRIVATE))
    studio.access.share(
        ADA, Node("dataset", other.dataset_id), SharingChange(Visibility.PRIVATE, (), (NAME, "bob"))
    )
    judge(studio, backend, base)
    label(studio, other)
    built = studio.build_preferences(ZACH, "built", RULES).version
    recipe = f"model: tiny\ndataset: {built.reference}\nmethod: lora\n"
    run = studio.training.start(ZACH, StartRun(Stage.DPO, recipe))
    model = adapter(studio, ZACH, base, run.id)
    studio.serving.deploy(ZACH, "door", (VariantSpec("a", model.id, 1.0),))
    return {"built": built.id, "run": run.id, "model": model.id, "base": base.id, "other": other.id}


def judge(studio: Studio, backend: object, base: ModelVersion) -> None:
    backend.queue(base.id, "a good answer", "a bad answer")  # type: ignore[attr-defined]
    conversation = studio.arena.begin(ZACH, Matchup(Contender(base.id), Contender(base.id), blind=True))
    events = studio.arena.turn(ZACH, conversation, "What is good?")
    [battle] = [event.battle_id for event in events if isinstance(event, BattleStarted)]
    studio.arena.vote(ZACH, NewVote(battle, Outcome.A, "vote-1"))
    studio.arena.vote(ADA, NewVote(battle, Outcome.A, "vote-2"))
    found = studio.arena.battle(ZACH, battle)
    studio.arena.thumb(ZACH, NewThumb(found.a.generation_id, True, "thumb-1"))


def label(studio: Studio, pairs: DatasetVersion) -> None:
    project = studio.annotation.open_project(
        ZACH, NewProject("labels", dataset=pairs.reference, members=Members(people=(NAME,)))
    )
    [item] = studio.annotation.next_items(ZACH, project.id, 1)
    studio.annotation.label(ZACH, NewLabel(project.id, item.id, "label-1", Verdict.A))
    studio.annotation.next_items(ZACH, project.id, 1)


def where_the_name_is(studio: Studio, name: str = NAME) -> set[str]:
    """The columns of the database in which a name stands (in lower case)."""
    found = set()
    tables = studio.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    for table in (str(row["name"]) for row in tables):
        for row in studio.database.rows(f'SELECT * FROM "{table}"'):
            found |= {f"{table}.{key}" for key in row.keys() if name in str(row[key]).lower()}  # noqa: SIM118
    return found


def check_erased(studio: Studio, ids: dict[str, str], pseudonym: str) -> None:
    """What is true after an erasure, however it went."""
    assert where_the_name_is(studio) == set()
    assert studio.accounts.actor(NAME) is None
    for found in (
        studio.datasets.version(ADA, ids["built"]),
        studio.training.get(ADA, ids["run"]),
        studio.registry.version(ADA, ids["model"]),
    ):
        assert [(mark.what, mark.detail) for mark in found.marks] == [("erased", pseudonym)]
    assert studio.datasets.version(ADA, ids["other"]).marks == ()
    assert studio.registry.version(ADA, ids["base"]).marks == ()
    judgements = [*studio.arena.judgements(ADA), *studio.annotation.judgements(ADA)]
    # Ada voted after the reveal, so hers does not count.
    assert [one.voter for one in judgements] == [pseudonym, pseudonym]
    assert [one.voter for one in studio.arena.opinions(ADA)] == [pseudonym]
