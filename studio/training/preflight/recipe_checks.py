"""Findings that need no rows: the recipe against its model and its datasets' kinds and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from studio.datasets import SchemaKind, Split
from studio.training.engines.external.environments import known
from studio.training.preflight.records import Finding, Severity
from studio.training.preflight.subject import Subject
from studio.training.records import Stage

KINDS = {
    Stage.CPT: SchemaKind.CORPUS,
    Stage.SFT: SchemaKind.INSTRUCTION,
    Stage.DPO: SchemaKind.PREFERENCE,
    Stage.KTO: SchemaKind.UNPAIRED,
    Stage.REWARD: SchemaKind.PREFERENCE,
}
_LEARNS = {
    SchemaKind.CORPUS: "plain texts",
    SchemaKind.INSTRUCTION: "conversations",
    SchemaKind.PREFERENCE: "preference pairs",
    SchemaKind.UNPAIRED: "single answers judged good or bad",
}
#: Learning rates between which runs usually end well, with an adapter and with every weight.
_RATES = {
    Stage.CPT: ((1e-5, 5e-4), (1e-6, 1e-4)),
    Stage.SFT: ((1e-5, 1e-3), (1e-6, 1e-4)),
    Stage.DPO: ((5e-7, 2e-4), (1e-7, 1e-5)),
    Stage.KTO: ((5e-7, 2e-4), (1e-7, 1e-5)),
    Stage.REWARD: ((1e-5, 5e-4), (1e-6, 1e-4)),
}
#: Layers that carry a state from token to token, whatever position a token says it has.
_RECURRENT = ("mamba", "rwkv", "linear_attention", "recurrent", "ssm", "lfm2", "xlstm", "jamba", "zamba")


def check_recipe(subject: Subject) -> Iterator[Finding]:
    """Everything that can be said before a row was looked at."""
    for check in (_kinds, _sizes, _evaluation, _length, _template, _rate, _packing, _adapter, _engine):
        yield from check(subject)


def _kinds(subject: Subject) -> Iterator[Finding]:
    wanted = KINDS[subject.recipe.STAGE]
    for place, version in enumerate(subject.datasets):
        if version.kind is not wanted:
            yield Finding(
                Severity.ERROR,
                subject.field_of(place),
                f"{version.reference} is of kind {version.kind.value}, and "
                f"{subject.recipe.STAGE.value.upper()} learns from kind {wanted.value}: {_LEARNS[wanted]}.",
                f"Choose a dataset of kind {wanted.value}, or another stage.",
                source=version.reference,
            )


def _sizes(subject: Subject) -> Iterator[Finding]:
    for place, version in enumerate(subject.datasets):
        if not version.rows.get(Split.TRAIN):
            yield Finding(
                Severity.ERROR,
                subject.field_of(place),
                f"{version.reference} has no training rows.",
                "Import it with a smaller validation share.",
                source=version.reference,
            )


def _evaluation(subject: Subject) -> Iterator[Finding]:
    recipe, main = subject.recipe, subject.datasets[0]
    if any(version.rows.get(Split.VALIDATION) for version in subject.datasets):
        return
    todo = "Import the data with a validation share, or join it with a version that has held-out rows."
    if recipe.early_stop_patience:
        yield Finding(
            Severity.ERROR,
            "early_stop_patience",
            f"{main.reference} has no held-out rows, so there is no loss to stop by.",
            todo,
        )
    if recipe.keep_best:
        yield Finding(
            Severity.ERROR,
            "keep_best",
            f"{main.reference} has no held-out rows, so no checkpoint can be called the best.",
            todo,
        )
    said = "evaluations are asked for and" if recipe.eval_every else "there is no evaluation:"
    yield Finding(
        Severity.WARNING,
        "eval_every" if recipe.eval_every else "dataset",
        f"{main.reference} has no held-out rows: {said} nothing will show whether the model learns by heart.",
        todo,
    )


def _length(subject: Subject) -> Iterator[Finding]:
    longest = subject.config.get("max_position_embeddings")
    if isinstance(longest, int) and subject.recipe.max_length > longest:
        yield Finding(
            Severity.ERROR,
            "max_length",
            f"{subject.recipe.max_length} is longer than the {longest} tokens that the model can take.",
            f"Give at most {longest}.",
        )


def _template(subject: Subject) -> Iterator[Finding]:
    if subject.recipe.STAGE is Stage.CPT or has_template(subject):
        return
    yield Finding(
        Severity.WARNING,
        "model",
        f"{subject.base.reference} brings no chat template; a plain one (User:, Assistant:) is used.",
        "That is right for a base model that has never seen a chat. If its makers have a template, put it "
        "beside its tokeniser as chat_template.jinja and register the model again.",
    )


def has_template(subject: Subject) -> bool:
    """Whether the base model's tokeniser brings a chat template."""
    base = subject.base.path
    if any((base / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        told = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and bool(told.get("chat_template"))


def _rate(subject: Subject) -> Iterator[Finding]:
    recipe = subject.recipe
    low, high = _RATES[recipe.STAGE][recipe.method == "full"]
    if low <= recipe.learning_rate <= high:
        return
    above = recipe.learning_rate > high
    yield Finding(
        Severity.WARNING,
        "learning_rate",
        f"{recipe.learning_rate:g} is {'high' if above else 'low'} for {recipe.STAGE.value.upper()} with "
        f"method {recipe.method}: {low:g} to {high:g} is usual.",
        "Lower it unless you mean it: training may diverge or forget."
        if above
        else "Raise it unless you mean it: the model may hardly change.",
    )


def _packing(subject: Subject) -> Iterator[Finding]:
    if not getattr(subject.recipe, "packing", False):
        return
    told = json.dumps([subject.config.get(name) for name in ("model_type", "layer_types", "architectures")])
    if any(name in told.lower() for name in _RECURRENT):
        yield Finding(
            Severity.WARNING,
            "packing",
            "Some layers of this model carry a state from token to token, so rows that are packed into one "
            "sequence would leak into each other.",
            "Give packing: false.",
        )


def _adapter(subject: Subject) -> Iterator[Finding]:
    recipe = subject.recipe
    if subject.adapter is None or "lora" not in recipe.model_fields_set or recipe.method == "full":
        return
    yield Finding(
        Severity.NOTE,
        "lora",
        f"The run goes on from the adapter {subject.adapter.reference} and keeps that one's rank, alpha and "
        "layers.",
        "Take its base as the model to begin a fresh adapter with these settings.",
    )


def _engine(subject: Subject) -> Iterator[Finding]:
    if subject.recipe.engine != "trl":
        yield Finding(
            Severity.NOTE,
            "engine",
            f"{known(subject.recipe.engine).title} turns rows into tokens by itself: what is shown here is "
            "what the studio's own worker would train.",
            "docs/engines.md says what differs; LLaMA-Factory prints its first row into the run's log.",
        )
