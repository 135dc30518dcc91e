"""What to do next: one sentence and one button, from what the studio holds.

``next_step`` is a pure function over ``Snapshot``. It walks the loop in order and stops at the first
station that is missing something, after what cannot wait: a run that works, and one that failed.
"""

from __future__ import annotations

from dataclasses import dataclass

from pages.components.markup import address
from pages.components.wording import count
from studio.jobs import Job, JobState
from studio.training import Run

#: Fewer decided votes than this make a preference dataset too small to teach anything.
ENOUGH_VOTES = 10


@dataclass(frozen=True)
class Snapshot:
    """The studio at one moment; references are ``name@number``, empty where there is none.

    ``instructions`` is the newest version of its kind, ``preferences`` the newest that verdicts made;
    ``pairs`` counts pairs that were built from votes and labels, ``votes`` the verdicts that could
    become some. ``tuned`` and ``preferred`` are what the newest SFT and DPO runs made.
    ``failed`` is the newest run if it failed. ``gives_way_to`` names what the chat frees its memory for.
    """

    datasets: int = 0
    rows: int = 0
    instructions: str = ""
    preferences: str = ""
    base: str = ""
    models: int = 0
    adapters: int = 0
    preparing: Job | None = None
    importing: Job | None = None
    runs: int = 0
    running: Run | None = None
    failed: Run | None = None
    tuned: str = ""
    preferred: str = ""
    votes: int = 0
    labels: int = 0
    pairs: int = 0
    deployments: int = 0
    deployed: tuple[str, ...] = ()
    answers: int = 0
    gives_way_to: str = ""


@dataclass(frozen=True)
class Step:
    """The next sensible step: a sentence, what its button says, where it leads, and its station."""

    sentence: str
    label: str
    href: str
    station: str


def next_step(seen: Snapshot) -> Step:
    """What someone who knows the loop would do now."""
    return _pressing(seen) or _ground(seen) or _teaching(seen) or _judging(seen) or _serving(seen)


def _pressing(seen: Snapshot) -> Step | None:
    if seen.running is not None:
        run = seen.running
        waiting = run.state is JobState.QUEUED
        doing = "is waiting for its turn" if waiting else "is learning; its curve grows as you watch"
        rests = f" Chat gives its memory to {seen.gives_way_to} meanwhile." if seen.gives_way_to else ""
        return Step(f"“{run.name}” {doing}.{rests}", "Watch the run", address("runs", run=run.id), "Train")
    if seen.failed is not None:
        run = seen.failed
        return Step(
            f"“{run.name}” did not finish: {run.reason or 'its process is gone'}",
            "See what happened",
            address("runs", run=run.id),
            "Train",
        )
    return None


def _ground(seen: Snapshot) -> Step | None:
    if not seen.datasets:
        return Step(
            "There is no data yet. Import a file of texts, instructions or preference pairs to begin.",
            "Import data",
            address("data", new="import"),
            "Data",
        )
    if not seen.base and seen.preparing is not None:
        return Step(
            "The embedded model is being unpacked, once. Until it is here, look through the sample data.",
            "Look at the data",
            address("data"),
            "Models",
        )
    if not seen.base:
        return Step(
            "There is no model to train or to talk to. Register one from a folder or from the Hub.",
            "Register a base model",
            address("models", new="base"),
            "Models",
        )
    return None


def _teaching(seen: Snapshot) -> Step | None:
    if seen.tuned:
        return None
    if not seen.instructions:
        return Step(
            "There is a model but nothing to teach it. Import question and answer pairs.",
            "Import instructions",
            address("data", new="import"),
            "Data",
        )
    return Step(
        f"Teach {seen.base} to answer: fine-tune it on {seen.instructions}.",
        "Set up the run",
        address("train", stage="sft", model=seen.base, dataset=seen.instructions),
        "Train",
    )


def _judging(seen: Snapshot) -> Step | None:
    verdicts = seen.votes + seen.labels
    if seen.preferred:
        return None
    if seen.pairs:
        return Step(
            f"{count(seen.pairs, 'pair')} of answers say what people prefer. Train {seen.tuned} on them.",
            "Set up the DPO run",
            address("train", stage="dpo", model=seen.tuned, dataset=seen.preferences),
            "Train again",
        )
    if verdicts < ENOUGH_VOTES:
        so_far = (
            f" So far there are {count(verdicts, 'verdict')}; {ENOUGH_VOTES} make a start."
            if verdicts
            else ""
        )
        return Step(
            f"Is {seen.tuned} better than {seen.base}? Ask both the same thing, blind, and vote.{so_far}",
            "Compare them blind",
            address("chat", a=seen.base, b=seen.tuned, blind="1"),
            "Compare",
        )
    return Step(
        f"{count(verdicts, 'verdict')} are waiting to become a preference dataset.",
        "Build preferences",
        address("data", build="preferences"),
        "Preferences",
    )


def _serving(seen: Snapshot) -> Step:
    if not seen.deployments:
        return Step(
            f"{seen.preferred} has learnt from votes. Give it a name that programs can call.",
            "Deploy it",
            address("deploy", model=seen.preferred),
            "Deploy",
        )
    if not seen.answers:
        return Step(
            f"“{seen.deployed[0]}” is live and nobody has called it. Send it a first request.",
            "Call it",
            address("deploy", deployment=seen.deployed[0]),
            "Traffic",
        )
    return Step(
        f"{count(seen.answers, 'answer')} served. Compare the variants that people use, and go round again.",
        "Compare again",
        address("chat", a=seen.tuned, b=seen.preferred, blind="1"),
        "Compare",
    )
