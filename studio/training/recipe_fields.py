"""The recipe classes: everything that a run's outcome depends on, one typed class a stage.

Each field carries its limits and its help in plain words; forms, pre-flight and the other engines read
them from here. What two fields say against each other is in ``contradictions``. Every default keeps a
recipe that does not name the field as it was before the field existed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from studio.training.records import Stage


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_number(cls, value: Any, info: Any) -> Any:
        # pydantic takes true for 1; "epochs: true" is a slip, not one epoch.
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and annotation in (int, float):
            raise ValueError("a number is wanted here")
        return value


class LoraSettings(_Strict):
    """The shape of a fresh adapter; a run that goes on from an adapter keeps that one's rank and targets."""

    r: int = Field(16, ge=1, le=512, description="Rank of the update; more learns more and costs more.")
    alpha: int = Field(32, ge=1, le=1024, description="Scale of the update is alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the adapter's input that is dropped.")
    targets: Literal["all-linear", "attention"] = Field(
        "all-linear", description="Which layers get an adapter: every linear one, or attention only."
    )
    dora: bool = Field(
        False,
        description="DoRA: also learn the length of each weight's columns; learns a little more, is slower.",
    )
    plus_ratio: float = Field(
        1.0,
        ge=1,
        le=64,
        description="LoRA+: learning rate of the B matrices over that of the A ones; 1: off, 16 is usual.",
    )


class MixSource(_Strict):
    """Another dataset that is learnt from in the same run, of the same kind as the main one."""

    dataset: str = Field(min_length=1, description="Dataset version: name, name@number or id.")
    weight: float = Field(
        1.0, gt=0, le=1000, description="Its share of the rows is its weight over the sum of all weights."
    )


class Recipe(_Strict):
    """What all stages have in common; batch sizes count rows, lengths count tokens."""

    STAGE: ClassVar[Stage]

    model: str = Field(min_length=1, description="Model version to go on from: name, name@number, alias, id.")
    dataset: str = Field(min_length=1, description="Dataset version to learn from: name, name@number or id.")
    weight: float = Field(
        1.0, gt=0, le=1000, description="Weight of the main dataset, where others are mixed in."
    )
    mix: tuple[MixSource, ...] = Field(
        (), max_length=16, description="Other datasets of the same kind to learn from in the same run."
    )
    output: str = Field("", max_length=80, description="Name of the model it makes; empty: model-stage.")
    engine: Literal["trl", "llamafactory", "axolotl"] = Field(
        "trl", description="What trains: the studio's own worker, or another tool in its own environment."
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="Train an adapter, an adapter over weights packed to 4 bits, or every weight."
    )
    lora: LoraSettings = Field(default_factory=LoraSettings, description="Shape of the adapter.")
    learning_rate: float = Field(2e-4, gt=0, le=0.1, description="Highest learning rate.")
    epochs: float = Field(1.0, gt=0, le=1000, description="Passes over the training rows.")
    max_steps: int = Field(-1, ge=-1, description="Stop after so many steps; -1: as epochs say.")
    batch_size: int = Field(4, ge=1, le=4096, description="Rows in one forward pass (of each process).")
    gradient_accumulation: int = Field(1, ge=1, le=4096, description="Forward passes in one step.")
    max_length: int = Field(512, ge=16, le=1 << 20, description="Longest sequence, in tokens.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the learning rate falls after its rise."
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="Pull of the trained weights towards zero.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to this norm.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Seed of the order of rows, of dropout and adapter.")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="Precision of the arithmetic; auto: bf16 where the model is stored in half precision. "
        "fp16 needs a GPU.",
    )
    attention: Literal["auto", "sdpa", "eager", "flash"] = Field(
        "auto",
        description="How attention is computed; auto: flash attention where it is installed and the run is "
        "on a GPU in half precision, else PyTorch's own fused kernel.",
    )
    recompute: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    processes: int = Field(1, ge=1, le=1024, description="Processes that train together, one a GPU.")
    parallel: Literal["ddp", "fsdp", "deepspeed"] = Field(
        "ddp",
        description="How several processes share the work: each holds the whole model (ddp), or the weights "
        "are cut up among them (fsdp, deepspeed).",
    )
    log_every: int = Field(1, ge=1, description="Steps between points of the training curve.")
    eval_every: int = Field(0, ge=0, description="Steps between evaluations; 0: at start and end only.")
    eval_rows: int = Field(
        0, ge=0, description="Evaluate on so many held-out rows (always the same ones); 0: on all."
    )
    early_stop_patience: int = Field(
        0, ge=0, le=1000, description="End after so many evaluations without a lower loss; 0: never early."
    )
    keep_best: bool = Field(
        False, description="Give out the weights with the lowest evaluation loss, not the last ones."
    )
    save_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, le=100, description="How many of the newest checkpoints stay.")

    @property
    def adapts(self) -> bool:
        """Whether an adapter is trained, and not the weights themselves."""
        return self.method != "full"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every dataset that is learnt from, the main one first."""
        return (self.dataset, *(source.dataset for source in self.mix))

    def contradictions(self) -> Iterator[str]:
        """What two fields say against each other, one sentence each, opening with the field's name."""
        if self.max_steps == 0:
            yield "max_steps: 0 steps train nothing; give -1 to let epochs decide."
        if self.scheduler == "constant" and self.warmup_ratio > 0 and "warmup_ratio" in self.model_fields_set:
            yield "warmup_ratio: scheduler: constant has no warm-up; give 0 or another scheduler."
        yield from self._method_contradictions()
        yield from self._data_contradictions()
        yield from self._process_contradictions()

    def _method_contradictions(self) -> Iterator[str]:
        if self.method != "full":
            return
        if "lora" in self.model_fields_set:
            yield "lora: only used with method: lora or qlora; remove it or change the method."
        if self.learning_rate > 1e-3:
            yield (
                f"learning_rate: {self.learning_rate:g} is too high for method: full; "
                "1e-6 to 1e-4 is usual, at most 1e-3."
            )

    def _data_contradictions(self) -> Iterator[str]:
        if self.weight != 1.0 and not self.mix:
            yield "weight: only used where mix names other datasets; remove it or add some."
        if len(set(self.datasets)) < len(self.datasets):
            yield "mix: a dataset is named twice; name it once and raise its weight."
        if self.early_stop_patience and not self.eval_every:
            yield "early_stop_patience: needs evaluations on the way; give eval_every."
        if self.keep_best and not self.eval_every:
            yield "keep_best: needs evaluations on the way; give eval_every."

    def _process_contradictions(self) -> Iterator[str]:
        if self.parallel == "fsdp" and self.processes == 1:
            yield "parallel: fsdp cuts the weights up among processes; give processes: 2 or more, or ddp."
        if self.parallel != "ddp" and self.method == "qlora":
            yield f"parallel: {self.parallel} cannot cut up 4-bit weights; take ddp, or method: lora."
        if self.parallel != "ddp" and self.keep_best:
            yield f"keep_best: not with parallel: {self.parallel}; take a checkpoint yourself, or ddp."

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        found = list(self.contradictions())
        if found:
            raise ValueError("\n".join(found))
        return self


class CptRecipe(Recipe):
    """Continued pre-training: the next token of plain text, wherever it stands."""

    STAGE = Stage.CPT

    stage: Literal["cpt"] = "cpt"
    packing: bool = Field(True, description="Put several short texts into one sequence.")
    neftune_alpha: float = Field(
        0.0, ge=0, le=100, description="NEFTune: noise on the input while training; 0: off, 5 is usual."
    )


class SftRecipe(Recipe):
    """Supervised fine-tuning: answers to instructions."""

    STAGE = Stage.SFT

    stage: Literal["sft"] = "sft"
    packing: bool = Field(False, description="Put several short conversations into one sequence.")
    assistant_only: bool = Field(
        True, description="Learn the assistant's turns only (each of them), not the questions."
    )
    neftune_alpha: float = Field(
        0.0, ge=0, le=100, description="NEFTune: noise on the input while training; 0: off, 5 is usual."
    )


class DpoRecipe(Recipe):
    """Direct preference optimisation: which of two answers is better, measured from a frozen reference."""

    STAGE = Stage.DPO

    stage: Literal["dpo"] = "dpo"
    learning_rate: float = Field(5e-5, gt=0, le=0.1, description="Highest learning rate.")
    beta: float = Field(0.1, gt=0, le=10, description="How strongly the model is held to its reference.")
    loss: Literal["sigmoid", "ipo", "robust"] = Field(
        "sigmoid",
        description="Form of the preference loss: the usual one, one that does not overfit to certain pairs, "
        "or one that reckons with wrong labels without bias.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Share of the pairs that are taken to be labelled wrongly."
    )

    def contradictions(self) -> Iterator[str]:
        """As for every recipe, and what the loss cannot use."""
        yield from super().contradictions()
        if self.loss == "ipo" and self.label_smoothing > 0:
            yield "label_smoothing: loss: ipo cannot use it; give 0, or take sigmoid or robust."
        if self.loss == "robust" and self.label_smoothing == 0:
            yield "label_smoothing: loss: robust reckons with wrong labels; say how many, 0.1 perhaps."


class KtoRecipe(Recipe):
    """Kahneman-Tversky optimisation: single answers that were found good or bad, no pairs needed."""

    STAGE = Stage.KTO

    stage: Literal["kto"] = "kto"
    learning_rate: float = Field(5e-5, gt=0, le=0.1, description="Highest learning rate.")
    beta: float = Field(0.1, gt=0, le=10, description="How strongly the model is held to its reference.")
    desirable_weight: float = Field(
        1.0, gt=0, le=100, description="Weight of good answers; raise it where good ones are few."
    )
    undesirable_weight: float = Field(
        1.0, gt=0, le=100, description="Weight of bad answers; raise it where bad ones are few."
    )

    def contradictions(self) -> Iterator[str]:
        """As for every recipe, and what KTO needs."""
        yield from super().contradictions()
        if self.batch_size == 1:
            yield "batch_size: KTO holds the answers of a batch against each other; give 2 or more."


class RewardRecipe(Recipe):
    """A reward model: gives an answer a number, higher where people would prefer it."""

    STAGE = Stage.REWARD

    stage: Literal["reward"] = "reward"
    learning_rate: float = Field(1e-4, gt=0, le=0.1, description="Highest learning rate.")
    center_rewards: float = Field(
        0.0, ge=0, le=10, description="Pull of the mean reward of a pair towards zero; 0: off, 0.01 is usual."
    )


RECIPES: dict[Stage, type[Recipe]] = {
    kind.STAGE: kind for kind in (CptRecipe, SftRecipe, DpoRecipe, KtoRecipe, RewardRecipe)
}


def field_help(path: str) -> str:
    """The help of a field by its dotted path (``lora.r``, ``mix.weight``); empty where there is none."""
    for kind in RECIPES.values():
        field = field_of(kind, path)
        if field is not None and field.description:
            return str(field.description)
    return ""


def field_of(kind: type[BaseModel], path: str) -> Any:
    """What pydantic knows of the field at a dotted path; None where there is none."""
    name, _, rest = path.partition(".")
    if name.isdecimal():  # the place in a list: mix.0.weight
        return field_of(kind, rest)
    field = kind.model_fields.get(name)
    if field is None or not rest:
        return field
    inner = nested(kind, name)
    return field_of(inner, rest) if inner else None


def nested(kind: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The class of the settings in a field, or of the items of its list; None for a plain value."""
    inner: dict[str, type[BaseModel]] = {"lora": LoraSettings, "mix": MixSource}
    return inner.get(name) if name in kind.model_fields else None
