"""Two tiny models really write the items of a project, and one really says what it thinks of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.annotation.model_work import CANDIDATES, ModelWork, job_id
from studio.annotation.records import (
    ItemKind,
    Members,
    NewProject,
    Project,
    ProjectState,
    Source,
    Standing,
    StoredItem,
    Task,
)
from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Database,
    Forbidden,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
    Settings,
)
from studio.datasets import DatasetService, DatasetVersion, NewVersion, SchemaKind, Split
from studio.jobs import Job, JobService, JobState
from studio.registry import BaseSource, ModelVersion, RegistryService
from studio.studio import open_studio
from tests.tinymodel import build_tiny_model


class Shelf:
    """One project and its items in memory."""

    def __init__(self, project: Project) -> None:
        self.kept = project
        self.stored: tuple[StoredItem, ...] = ()
        self.suggested: dict[int, tuple[Standing, float]] = {}
        self.additions = 0

    def project(self, project_id: str) -> Project | None:
        return self.kept if project_id == self.kept.id else None

    def projects(self) -> tuple[Project, ...]:
        return (self.kept,)

    def set_job(self, project_id: str, job_id: str) -> None:
        assert project_id == self.kept.id
        self.kept = replace(self.kept, job_id=job_id)

    def items(self, project_id: str) -> tuple[StoredItem, ...]:
        assert project_id == self.kept.id
        return self.stored

    def add_items(self, project_id: str, items: tuple[StoredItem, ...]) -> None:
        assert project_id == self.kept.id
        self.additions += 1
        self.stored = (*self.stored, *items)

    def set_state(self, project_id: str, state: ProjectState, problem: str = "") -> None:
        assert project_id == self.kept.id
        self.kept = replace(self.kept, state=state, problem=problem)

    def add_suggestions(self, project_id: str, found: Mapping[int, tuple[Standing, float]]) -> None:
        assert project_id == self.kept.id
        self.suggested.update(found)


@pytest.fixture(scope="session")
def brief_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model whose answers end by themselves."""
    return build_tiny_model(tmp_path_factory.mktemp("brief") / "model", end_scale=30.0)


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model whose answers always run into their limit."""
    return build_tiny_model(tmp_path_factory.mktemp("endless") / "model", end_scale=0.0)


@pytest.fixture
def jobs(database: Database, home: Path) -> JobService:
    return JobService(database, home, Audit(database), training_slots=1, stop_grace_seconds=10.0)


@pytest.fixture
def datasets(database: Database, home: Path, jobs: JobService, settings: Settings) -> DatasetService:
    return DatasetService(database, home, jobs, Lineage(database), Audit(database), settings)


@pytest.fixture
def registry(database: Database, home: Path, jobs: JobService) -> RegistryService:
    return RegistryService(database, home, jobs, Lineage(database), Audit(database))


@pytest.fixture
def models(registry: RegistryService, brief_model: Path, endless_model: Path) -> tuple[ModelVersion, ...]:
    """One whose answers end soon, and one that always runs into its limit."""
    sources = (BaseSource(str(brief_model), "brief"), BaseSource(str(endless_model), "endless"))
    return tuple(registry.register_base(LOCAL_ADMIN, source) for source in sources)


@pytest.fixture
def questions(datasets: DatasetService) -> DatasetVersion:
    rows = [
        {"messages": [_turn("user", f"What is {n} and {n + 1}?"), _turn("assistant", str(n))]}
        for n in range(8)
    ]
    sides = {Split.TRAIN: rows[:6], Split.VALIDATION: rows[6:]}
    return datasets.create(LOCAL_ADMIN, NewVersion("questions", SchemaKind.INSTRUCTION, sides, steps=()))


@pytest.fixture
def shelf(questions: DatasetVersion) -> Shelf:
    return Shelf(
        Project(
            id="project_1",
            name="Which model",
            task=Task.PREFERENCE,
            source=Source.CANDIDATES,
            state=ProjectState.PREPARING,
            dataset_version_id=questions.id,
            guideline="",
            guideline_version=1,
            overlap=1,
            target=None,
            members=Members(),
            models=("brief", "brief@1"),
            suggestion_model="",
            gold_version_id=None,
            gold_every=10,
            repeat_every=0,
            lease_seconds=900,
            items=0,
            created_at=1.0,
            created_by="local",
        )
    )


@pytest.fixture
def work(
    shelf: Shelf,
    database: Database,
    home: Path,
    jobs: JobService,
    datasets: DatasetService,
    registry: RegistryService,
    models: tuple[ModelVersion, ...],
) -> ModelWork:
    assert models
    return ModelWork(shelf, home, jobs, datasets, registry, Lineage(database))


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _ended(jobs: JobService, job: Job, state: JobState = JobState.SUCCEEDED) -> Job:
    ended = jobs.wait(LOCAL_ADMIN, job.id, 120)
    assert ended.state is state, jobs.log(LOCAL_ADMIN, job.id).text
    return ended


def test_two_models_write_the_items_and_the_project_opens(
    work: ModelWork, shelf: Shelf, jobs: JobService, database: Database, models: tuple[ModelVersion, ...]
) -> None:
    job = work.write_candidates(LOCAL_ADMIN, shelf.kept)
    assert work.write_candidates(LOCAL_ADMIN, shelf.kept).id == job.id
    ended = _ended(jobs, job)
    work.settle((ended,))
    assert shelf.kept.state is ProjectState.OPEN
    assert 1 <= len(shelf.stored) <= 8
    assert [item.position for item in shelf.stored] == list(range(len(shelf.stored)))
    for item in shelf.stored:
        assert item.prompt[0]["content"].startswith("What is")
        assert item.first[0]["role"] == item.second[0]["role"] == "assistant"
        assert item.first[0]["content"] != item.second[0]["content"]
    # One model wrote both sides here, under two seeds.
    written_by = Lineage(database).parents(Node("project", "project_1"))
    assert [edge.parent.id for edge in written_by] == [models[0].id]
    work.settle((ended,))
    assert shelf.additions == 1


def test_the_answers_are_those_that_the_model_server_gives(
    work: ModelWork, shelf: Shelf, jobs: JobService, brief_model: Path
) -> None:
    """Each answer alone, step by step without a cache, under its own seed."""
    work.settle((_ended(jobs, work.write_candidates(LOCAL_ADMIN, shelf.kept)),))
    payload = json.loads(
        (jobs.get(LOCAL_ADMIN, job_id(CANDIDATES, "project_1")).directory / "payload.json").read_text()
    )
    script = (
        "import json, sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "from studio.annotation.candidates import answer_seed\n"
        "from studio.serving.engine.sampler import choose\n"
        "from studio.serving.records import Sampling\n"
        "folder, seed, place, side, prompt = sys.argv[1:]\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()\n"
        "ids = tokenizer(tokenizer.apply_chat_template([{'role': 'user', 'content': prompt}], tokenize=False,"
        " add_generation_prompt=True), add_special_tokens=False)['input_ids']\n"
        "draw = torch.Generator(); draw.manual_seed(answer_seed(int(seed), int(place), int(side)))\n"
        "said = []\n"
        "with torch.inference_mode():\n"
        "    while len(said) < 384:\n"
        "        logits = model(input_ids=torch.tensor([ids + said])).logits[0, -1].float()\n"
        "        said.append(choose(logits, [], Sampling(temperature=0.7, top_p=0.95), draw))\n"
        "        if said[-1] == tokenizer.eos_token_id: break\n"
        "print(json.dumps(tokenizer.decode(said, skip_special_tokens=True)))\n"
    )
    item = min(shelf.stored, key=lambda one: len(one.first[0]["content"]))
    prompt = item.prompt[0]["content"]
    place = int(prompt.split()[2])
    command = [sys.executable, "-c", script, str(brief_model), str(payload["seed"]), str(place), "0", prompt]
    plain = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # In bfloat16 a batch can turn one close call, and everything after it; the opening is the same.
    assert plain[:12] == item.first[0]["content"][:12]


def test_answers_that_never_end_fail_the_project_with_its_reason(
    work: ModelWork, shelf: Shelf, jobs: JobService
) -> None:
    shelf.kept = replace(shelf.kept, models=("endless", "brief"), target=2)
    ended = _ended(jobs, work.write_candidates(LOCAL_ADMIN, shelf.kept), JobState.FAILED)
    work.settle((ended,))
    assert shelf.kept.state is ProjectState.FAILED
    assert "None of the 2 prompts got two answers that can be compared" in shelf.kept.problem
    assert "cut off" in shelf.kept.problem
    assert shelf.stored == ()


def test_a_stopped_job_fails_the_project_and_adds_nothing(
    work: ModelWork, shelf: Shelf, jobs: JobService
) -> None:
    shelf.kept = replace(shelf.kept, models=("endless", "endless"))
    job = work.write_candidates(LOCAL_ADMIN, shelf.kept)
    deadline = time.monotonic() + 60
    while jobs.progress(LOCAL_ADMIN, job.id) is None and time.monotonic() < deadline:
        jobs.tick()
        time.sleep(0.02)
    jobs.request_stop(LOCAL_ADMIN, job.id)
    work.settle((_ended(jobs, job, JobState.STOPPED),))
    assert shelf.kept.state is ProjectState.FAILED
    assert shelf.kept.problem
    assert shelf.stored == ()


def test_a_project_that_waits_in_vain_fails(work: ModelWork, shelf: Shelf) -> None:
    """The process died after the project was stored and before its job was."""
    shelf.kept = replace(shelf.kept, created_at=time.time())
    work.settle_again()
    assert shelf.kept.state is ProjectState.PREPARING
    shelf.kept = replace(shelf.kept, created_at=time.time() - 120)
    work.settle_again()
    assert (shelf.kept.state, shelf.kept.problem) == (
        ProjectState.FAILED,
        "The models' work was never queued.",
    )


def test_what_could_not_be_settled_is_settled_later(work: ModelWork, shelf: Shelf, jobs: JobService) -> None:
    _ended(jobs, work.write_candidates(LOCAL_ADMIN, shelf.kept))
    assert shelf.kept.state is ProjectState.PREPARING
    work.settle_again()
    assert shelf.kept.state is ProjectState.OPEN
    assert shelf.stored


_ORACLE = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, items = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
def logp(prompt, answer):
    head = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    a = tokenizer(head, add_special_tokens=False)["input_ids"]
    b = tokenizer(answer[0]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        found = model(input_ids=torch.tensor([a + b])).logits[0].log_softmax(-1)
    return sum(float(found[len(a) + i - 1, t]) for i, t in enumerate(b))
print(json.dumps([logp(i["prompt"], i["first"]) - logp(i["prompt"], i["second"]) for i in json.loads(items)]))
"""


def _pairs() -> list[dict[str, Any]]:
    return [
        {
            "prompt": [_turn("user", f"Question {n}")],
            "first": [_turn("assistant", "word " * (n + 1))],
            "second": [_turn("assistant", "another thing " * (5 - n))],
        }
        for n in range(5)
    ]


def test_suggestions_are_the_summed_log_likelihoods(
    work: ModelWork, shelf: Shelf, jobs: JobService, brief_model: Path
) -> None:
    pairs = _pairs()
    shelf.stored = tuple(
        StoredItem(f"item_{n}", n, ItemKind.DATA, tuple(p["prompt"]), tuple(p["first"]), tuple(p["second"]))
        for n, p in enumerate(pairs)
    )
    single = StoredItem("item_5", 5, ItemKind.DATA, shelf.stored[0].prompt, shelf.stored[0].first, ())
    shelf.stored = (*shelf.stored, single)
    shelf.kept = replace(shelf.kept, state=ProjectState.OPEN, suggestion_model="brief")
    job = work.suggest(LOCAL_ADMIN, shelf.kept)
    assert job is not None
    work.settle((_ended(jobs, job),))
    command = [sys.executable, "-c", _ORACLE, str(brief_model), json.dumps(pairs)]
    plain = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert sorted(shelf.suggested) == [0, 1, 2, 3, 4]
    for place, margin in enumerate(plain):
        standing, size = shelf.suggested[place]
        assert standing is (Standing.FIRST if margin > 0 else Standing.SECOND)
        assert size == pytest.approx(abs(margin), rel=0.03, abs=0.2)


def test_suggestions_follow_the_candidates(work: ModelWork, shelf: Shelf, jobs: JobService) -> None:
    shelf.kept = replace(shelf.kept, suggestion_model="brief", target=4)
    work.settle((_ended(jobs, work.write_candidates(LOCAL_ADMIN, shelf.kept)),))
    later = jobs.get(LOCAL_ADMIN, job_id("suggestions", "project_1"))
    work.settle((_ended(jobs, later),))
    assert sorted(shelf.suggested) == [item.position for item in shelf.stored]


def test_suggestions_that_fail_leave_the_project_open_and_say_so(
    work: ModelWork, shelf: Shelf, jobs: JobService
) -> None:
    long = (_turn("user", "long " * 3000),)
    answers = ((_turn("assistant", "a"),), (_turn("assistant", "b"),))
    shelf.stored = (StoredItem("item_0", 0, ItemKind.DATA, long, *answers),)
    shelf.kept = replace(shelf.kept, state=ProjectState.OPEN, suggestion_model="brief")
    job = work.suggest(LOCAL_ADMIN, shelf.kept)
    assert job is not None
    work.settle((_ended(jobs, job, JobState.FAILED),))
    assert shelf.kept.state is ProjectState.OPEN
    assert "None of the 1 items fits" in shelf.kept.problem


def test_what_cannot_be_done_is_refused_before_a_job(
    work: ModelWork, shelf: Shelf, jobs: JobService, datasets: DatasetService, questions: DatasetVersion
) -> None:
    new = NewProject("x", source=Source.CANDIDATES, dataset=questions.id, models=("brief", "endless"))
    work.check(LOCAL_ADMIN, new)
    with pytest.raises(InvalidInput, match="Two models write"):
        work.check(LOCAL_ADMIN, replace(new, models=("brief",)))
    with pytest.raises(NotFound, match="No model is called"):
        work.check(LOCAL_ADMIN, replace(new, models=("brief", "nobody")))
    with pytest.raises(InvalidInput, match="suggests which of two answers"):
        work.check(LOCAL_ADMIN, replace(new, task=Task.ACCEPT, suggestion_model="brief"))
    with pytest.raises(InvalidInput, match="battles of the arena come later"):
        work.check(LOCAL_ADMIN, NewProject("x", source=Source.ARENA, suggestion_model="brief"))
    rows = {Split.TRAIN: [{"text": "Only text."}], Split.VALIDATION: []}
    datasets.create(LOCAL_ADMIN, NewVersion("plain", SchemaKind.CORPUS, rows, steps=()))
    with pytest.raises(InvalidInput, match="has no prompts"):
        work.check(LOCAL_ADMIN, replace(new, dataset="plain"))
    with pytest.raises(Forbidden):
        work.write_candidates(Actor("ann", Role.ANNOTATOR), shelf.kept)
    assert work.suggest(LOCAL_ADMIN, shelf.kept) is None
    assert jobs.list(LOCAL_ADMIN) == ()


def test_a_project_of_candidates_opens_by_itself(settings: Settings, brief_model: Path) -> None:
    """The whole way: open, write, settle, suggest, and a person gets items with a model's opinion."""
    studio = open_studio(settings)
    try:
        studio.registry.register_base(LOCAL_ADMIN, BaseSource(str(brief_model), "brief"))
        pairs = [{"prompt": [_turn("user", f"What is {n}?")], **_two_answers(n)} for n in range(6)]
        rows = {Split.TRAIN: pairs, Split.VALIDATION: []}
        studio.datasets.create(LOCAL_ADMIN, NewVersion("asked", SchemaKind.PREFERENCE, rows, steps=()))
        new = NewProject(
            "Written by models",
            source=Source.CANDIDATES,
            dataset="asked",
            models=("brief", "brief"),
            suggestion_model="brief",
        )
        project = studio.annotation.open_project(LOCAL_ADMIN, new)
        assert (project.state, project.job_id) == (ProjectState.PREPARING, job_id(CANDIDATES, project.id))
        studio.settle((_ended(studio.jobs, studio.jobs.get(LOCAL_ADMIN, project.job_id or "")),))
        opened = studio.annotation.project(LOCAL_ADMIN, project.id)
        assert opened.state is ProjectState.OPEN
        assert 1 <= opened.items <= 6
        later = _ended(studio.jobs, studio.jobs.get(LOCAL_ADMIN, job_id("suggestions", project.id)))
        studio.settle((later,))
        (item,) = studio.annotation.next_items(LOCAL_ADMIN, project.id, 1)
        assert item.suggestion is not None
        assert item.suggestion.margin >= 0
        assert item.suggestion.verdict.value in ("a", "b", "tie")
    finally:
        studio.close()


def _two_answers(n: int) -> dict[str, object]:
    return {"chosen": [_turn("assistant", f"It is {n}.")], "rejected": [_turn("assistant", "No.")]}
