"""The whole loop, headless: data, CPT, SFT, blind answers, votes, preferences, DPO, evaluation, deployment.

It calls the same services as the pages and the REST routes, and leaves everything it made in the
studio's home, where the pages show it. What it claims is measured on held-out rows: nothing in the
training, feedback and evaluation prompts may overlap, and ``check_disjoint`` holds that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from studio.arena import Battle, BattleStarted, NewVote, Vote
from studio.core import LOCAL_ADMIN, InvalidInput, StudioError, Unavailable, new_id
from studio.datasets import DatasetVersion, PreferenceSettings, normalise
from studio.evaluation import Evaluation, EvaluationKind
from studio.jobs import JobState
from studio.registry import EMBEDDED_NAME, ModelVersion
from studio.samples import DATA, SAMPLES, import_samples
from studio.serving import ChatMessage, Sampling, VariantSpec
from studio.stats import Interval
from studio.studio import SCRIPTED, Studio
from studio.training import Run, Stage, StartRun, dump_recipe, load_config, parse_recipe
from studio.voter import RULE, VOTER, judge

_DAY_SECONDS = 86_400.0
# Four battles at a time fill a batch of eight rows, of which each costs far less than one of two.
_BATTLES_AT_ONCE = 4

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoopPlan:
    """What the loop works with; ``overrides`` replace fields of each stage's recipe in ``configs/``."""

    base: str = EMBEDDED_NAME
    feedback_prompts: int = 40
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=160))
    system_prompt: str = "Answer in two short sentences."
    overrides: dict[Stage, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopResult:
    """What the loop measured; the names are those of its JSON line."""

    sft_eval_loss_before: float
    sft_eval_loss_after: float
    dpo_accuracy_before: float
    dpo_accuracy_after: float
    dpo_accuracy_interval_before: tuple[float, float] | None
    dpo_accuracy_interval_after: tuple[float, float] | None
    dpo_pairs: int
    eval_pairs: int
    votes: int
    deployment: str
    seconds: float
    learnt: bool

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def run_loop(studio: Studio, plan: LoopPlan, say: Say) -> LoopResult:
    """Walk the loop once; every step is announced through ``say`` with its time.

    Raises:
        StudioError: A step failed; what was made before it stays in the studio.
    """
    return _Loop(studio, plan, say).walk()


def check_disjoint(groups: dict[str, frozenset[str]]) -> None:
    """Hold that no prompt stands in two of the named groups.

    Raises:
        InvalidInput: One does; the details name it and the groups.
    """
    seen: dict[str, str] = {}
    clashes = []
    for group, prompts in groups.items():
        clashes += [f"{prompt!r} is in {seen[prompt]} and in {group}" for prompt in prompts if prompt in seen]
        seen.update(dict.fromkeys(prompts, group))
    if clashes:
        raise InvalidInput("Some prompts are used twice.", "Remove them from one side.", tuple(clashes[:20]))


class _Loop:
    """One walk: the studio, the plan, and the clock that times its steps."""

    def __init__(self, studio: Studio, plan: LoopPlan, say: Say) -> None:
        self._studio = studio
        self._plan = plan
        self._say = say
        self._began = time.monotonic()

    def walk(self) -> LoopResult:
        prompts = self._import()
        base = self._studio.registry.version(LOCAL_ADMIN, self._plan.base)
        cpt = self._train(Stage.CPT, base.reference, "studio-corpus")
        sft = self._train(Stage.SFT, cpt.reference, "studio-instructions")
        with self._step("deploy base and SFT as two variants"):
            self._deploy("loop-feedback", {"base": base, "sft": sft}, self._plan.system_prompt)
        battles = self._answer(prompts)
        votes = self._vote(battles)
        preferences, pairs = self._preferences(votes)
        dpo = self._train(Stage.DPO, sft.reference, preferences.reference)
        loss, accuracy = self._evaluate(base, sft, dpo)
        with self._step("deploy SFT and DPO side by side"):
            self._deploy("studio-assistant", {"sft": sft, "dpo": dpo}, "")
            self._try("studio-assistant", prompts[0])
        return self._result(loss, accuracy, pairs, len(votes))

    def _import(self) -> list[str]:
        with self._step("import sample data and embedded model"):
            import_samples(self._studio.datasets)
            self._embedded()
            prompts = feedback_prompts(DATA / "feedback_prompts.jsonl")[: self._plan.feedback_prompts]
        with self._step("check that training, feedback and evaluation prompts are disjoint"):
            check_disjoint(self._groups(prompts))
        return prompts

    def _embedded(self) -> None:
        if self._plan.base != EMBEDDED_NAME:
            return
        job = self._studio.registry.start_embedded(LOCAL_ADMIN)
        if job is not None:
            self._wait(job.id)

    def _groups(self, prompts: list[str]) -> dict[str, frozenset[str]]:
        groups: dict[str, set[str]] = {"training": set(), "evaluation": set()}
        for sample in SAMPLES:
            version = self._studio.datasets.version(LOCAL_ADMIN, sample.dataset)
            group = "evaluation" if sample.held_out == 1.0 else "training"
            groups[group] |= self._studio.datasets.prompts(LOCAL_ADMIN, version.id)
        feedback = frozenset(normalise(text) for text in prompts)
        return {name: frozenset(found) for name, found in groups.items()} | {"feedback": feedback}

    def _train(self, stage: Stage, model: str, dataset: str) -> ModelVersion:
        with self._step(f"{stage.value.upper()} of {model} on {dataset}"):
            recipe = parse_recipe(stage, load_config(stage.value))
            changes = {"model": model, "dataset": dataset} | self._plan.overrides.get(stage, {})
            text = dump_recipe(recipe.model_copy(update=changes))
            run = self._studio.training.start(LOCAL_ADMIN, StartRun(stage, text, f"loop {stage.value}"))
            self._wait(run.job_id)
            done = self._studio.training.get(LOCAL_ADMIN, run.id)
            self._say(f"    {_curve(done)}")
            if done.output_version_id is None:
                raise Unavailable(f"{done.name} ({done.id}) made no model: {done.reason}", "See its log.")
            return self._studio.registry.version(LOCAL_ADMIN, done.output_version_id)

    def _deploy(self, name: str, models: dict[str, ModelVersion], system_prompt: str) -> None:
        variants = tuple(
            VariantSpec(variant, model.id, 1.0, system_prompt, self._plan.sampling)
            for variant, model in models.items()
        )
        self._studio.serving.deploy(LOCAL_ADMIN, name, variants)

    def _answer(self, prompts: list[str]) -> list[Battle]:
        with (
            self._step(f"blind answers of both to {len(prompts)} feedback prompts"),
            ThreadPoolExecutor(_BATTLES_AT_ONCE) as pool,
        ):
            return list(pool.map(self._battle, prompts))

    def _battle(self, prompt: str) -> Battle:
        arena = self._studio.arena
        matchup = arena.deployment_matchup(
            VOTER, "loop-feedback", blind=True, sampling=self._plan.sampling, source=SCRIPTED
        )
        events = list(arena.turn(VOTER, arena.begin(VOTER, matchup), prompt))
        [battle_id] = [event.battle_id for event in events if isinstance(event, BattleStarted)]
        return arena.battle(VOTER, battle_id)

    def _vote(self, battles: list[Battle]) -> list[Vote]:
        with self._step(f"scripted voter: {RULE}"):
            votes = [
                self._studio.arena.vote(VOTER, NewVote(battle.id, judge(battle), new_id("nonce")))[0]
                for battle in battles
            ]
            counts = {
                outcome: sum(v.outcome is outcome for v in votes) for outcome in {v.outcome for v in votes}
            }
            self._say("    " + ", ".join(f"{o.value}: {n}" for o, n in sorted(counts.items())))
            return votes

    def _preferences(self, votes: list[Vote]) -> tuple[DatasetVersion, int]:
        with self._step("preference dataset from these votes, joined by the sample pairs"):
            mine = {vote.id for vote in votes}
            judgements = [
                j for j in self._studio.arena.judgements(LOCAL_ADMIN, source=SCRIPTED) if j.id in mine
            ]
            made = self._studio.datasets.build_preferences(
                LOCAL_ADMIN, "loop-preferences", judgements, (), PreferenceSettings(), ("studio-preferences",)
            )
            left_out = ", ".join(f"{item.count} {item.why}" for item in made.report.left_out) or "nothing"
            self._say(f"    {made.report.pairs} pairs from votes; left out: {left_out}")
            return made.version, made.version.total_rows

    def _evaluate(
        self, base: ModelVersion, sft: ModelVersion, dpo: ModelVersion
    ) -> tuple[Evaluation, Evaluation]:
        with self._step("evaluate on held-out rows"):
            loss = self._measure(EvaluationKind.ANSWER_LOSS, (base, sft), "studio-instructions-eval")
            accuracy = self._measure(
                EvaluationKind.PREFERENCE_ACCURACY, (sft, dpo), "studio-preferences-eval"
            )
            return loss, accuracy

    def _measure(self, kind: EvaluationKind, models: tuple[ModelVersion, ...], dataset: str) -> Evaluation:
        references = tuple(model.reference for model in models)
        job = self._studio.evaluation.start(LOCAL_ADMIN, kind, references, dataset)
        self._wait(job.id)
        found = self._studio.evaluation.result(LOCAL_ADMIN, job.id)
        if found is None:
            raise Unavailable(f"The evaluation {job.id} has no result.", "See its log.")
        return found

    def _try(self, deployment: str, prompt: str) -> None:
        message = ChatMessage(role="user", content=prompt)
        made = self._studio.serving.predict(LOCAL_ADMIN, deployment, "loop", (message,), None)
        self._say(f"    {made.variant} answers {prompt!r}: {made.generation.text.strip()!r}")

    def _result(self, loss: Evaluation, accuracy: Evaluation, pairs: int, votes: int) -> LoopResult:
        loss_before, loss_after = loss.scores
        before, after = accuracy.scores
        return LoopResult(
            sft_eval_loss_before=round(loss_before.value, 4),
            sft_eval_loss_after=round(loss_after.value, 4),
            dpo_accuracy_before=round(before.value, 4),
            dpo_accuracy_after=round(after.value, 4),
            dpo_accuracy_interval_before=_ends(before.interval),
            dpo_accuracy_interval_after=_ends(after.interval),
            dpo_pairs=pairs,
            eval_pairs=after.n,
            votes=votes,
            deployment="studio-assistant",
            seconds=round(time.monotonic() - self._began, 1),
            learnt=loss_after.value < loss_before.value and after.value > before.value,
        )

    def _wait(self, job_id: str) -> None:
        job = self._studio.jobs.wait(LOCAL_ADMIN, job_id, _DAY_SECONDS)
        if job.state is not JobState.SUCCEEDED:
            raise Unavailable(f"The job {job.kind} ({job.id}) ended as {job.state}: {job.reason}")
        self._studio.settle((job,))

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {title}")
        began = time.monotonic()
        try:
            yield
        except StudioError as error:
            self._say(f"    failed: {error}")
            raise
        self._say(f"    took {time.monotonic() - began:.1f} s")


def feedback_prompts(path: Path) -> list[str]:
    """The prompts of a JSONL file of ``{"prompt": …}``."""
    return [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines() if line]


def _curve(run: Run) -> str:
    shown = ("train/loss", "eval/loss", "train/rewards_accuracy", "train/tokens_per_second")
    return ", ".join(f"{name} {run.summary[name]:.4g}" for name in shown if name in run.summary)


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return (round(interval.low, 4), round(interval.high, 4)) if interval else None
