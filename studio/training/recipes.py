"""Recipes: everything that a run's outcome depends on, as a typed class and as a YAML file.

A recipe is read as YAML 1.2, so ``1e-5`` is a number and ``no`` is a word. Whatever is wrong with it
is said at once: unknown keys with the nearest known one, keys given twice, values out of range, and
fields that contradict each other. Nothing here knows whether a model or a dataset exists.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from studio.core import InvalidInput, NotFound
from studio.training.records import Stage

#: Larger texts are no recipes.
_LONGEST_RECIPE = 64 * 1024
#: What stands in for a field that has an error of its own while the other checks are made.
_STAND_INS = {"model": "-", "dataset": "-"}

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


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


class Recipe(_Strict):
    """What all three stages have in common; batch sizes count rows, lengths count tokens."""

    STAGE: ClassVar[Stage]

    model: str = Field(min_length=1, description="Model version to go on from: name, name@number, alias, id.")
    dataset: str = Field(min_length=1, description="Dataset version to learn from: name, name@number or id.")
    output: str = Field("", max_length=80, description="Name of the model it makes; empty: model-stage.")
    method: Literal["lora", "full"] = Field("lora", description="Train an adapter, or every weight.")
    lora: LoraSettings = Field(default_factory=LoraSettings, description="Shape of the adapter.")
    learning_rate: float = Field(2e-4, gt=0, le=0.1, description="Highest learning rate.")
    epochs: float = Field(1.0, gt=0, le=1000, description="Passes over the training rows.")
    max_steps: int = Field(-1, ge=-1, description="Stop after so many steps; -1: as epochs say.")
    batch_size: int = Field(4, ge=1, le=4096, description="Rows in one forward pass.")
    gradient_accumulation: int = Field(1, ge=1, le=4096, description="Forward passes in one step.")
    max_length: int = Field(512, ge=16, le=1 << 20, description="Longest sequence, in tokens.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    scheduler: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the learning rate falls after its rise."
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="Pull of the trained weights towards zero.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to this norm.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Seed of the order of rows, of dropout and adapter.")
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="Precision of the frozen weights; auto: bf16 where the model is stored so."
    )
    recompute: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    log_every: int = Field(1, ge=1, description="Steps between points of the training curve.")
    eval_every: int = Field(0, ge=0, description="Steps between evaluations; 0: at start and end only.")
    save_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, le=100, description="How many of the newest checkpoints stay.")

    def contradictions(self) -> Iterator[str]:
        """What two fields say against each other, one sentence each, opening with the field's name."""
        if self.max_steps == 0:
            yield "max_steps: 0 steps train nothing; give -1 to let epochs decide."
        if self.method == "full" and "lora" in self.model_fields_set:
            yield "lora: only used with method: lora; remove it or change the method."
        if self.method == "full" and self.learning_rate > 1e-3:
            yield (
                f"learning_rate: {self.learning_rate:g} is too high for method: full; "
                "1e-6 to 1e-4 is usual, at most 1e-3."
            )
        if self.scheduler == "constant" and self.warmup_ratio > 0 and "warmup_ratio" in self.model_fields_set:
            yield "warmup_ratio: scheduler: constant has no warm-up; give 0 or another scheduler."

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


class SftRecipe(Recipe):
    """Supervised fine-tuning: answers to instructions."""

    STAGE = Stage.SFT

    stage: Literal["sft"] = "sft"
    packing: bool = Field(False, description="Put several short conversations into one sequence.")
    assistant_only: bool = Field(
        True, description="Learn the assistant's turns only (each of them), not the questions."
    )


class DpoRecipe(Recipe):
    """Direct preference optimisation: which of two answers is better, measured from a frozen reference."""

    STAGE = Stage.DPO

    stage: Literal["dpo"] = "dpo"
    learning_rate: float = Field(5e-5, gt=0, le=0.1, description="Highest learning rate.")
    beta: float = Field(0.1, gt=0, le=10, description="How strongly the model is held to its reference.")
    loss: Literal["sigmoid", "ipo"] = Field("sigmoid", description="Form of the preference loss.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Share of the pairs that are taken to be labelled wrongly."
    )

    def contradictions(self) -> Iterator[str]:
        """As for every recipe, and what the loss cannot use."""
        yield from super().contradictions()
        if self.loss == "ipo" and self.label_smoothing > 0:
            yield "label_smoothing: only loss: sigmoid can use it; give 0 or change the loss."


RECIPES: dict[Stage, type[Recipe]] = {Stage.CPT: CptRecipe, Stage.SFT: SftRecipe, Stage.DPO: DpoRecipe}


def parse_recipe(stage: Stage, yaml_text: str) -> Recipe:
    """The recipe that a YAML text describes.

    Raises:
        InvalidInput: The text is no recipe; ``details`` name every field that is wrong and why.
    """
    data, errors = _load(yaml_text)
    recipe: Recipe | None = None
    try:
        recipe = RECIPES[stage].model_validate(data)
    except ValidationError as error:
        errors += _explain(RECIPES[stage], data, error)
    if errors or recipe is None:
        raise InvalidInput(
            f"This {stage.value.upper()} recipe has {len(errors)} error{'s'[: len(errors) != 1]}.",
            "Mend the fields below and start again; nothing was started.",
            tuple(errors),
        )
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out; reading it back gives the same recipe."""
    values = recipe.model_dump()
    if recipe.method == "full":
        del values["lora"]
    if recipe.scheduler == "constant":
        del values["warmup_ratio"]
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump({"stage": values.pop("stage"), **values}, out)
    return out.getvalue()


def recipe_text(values: dict[str, Any]) -> str:
    """The text of a recipe that came as values (a JSON body); whether it is any good, parsing says.

    Raises:
        InvalidInput: The values are nested too deeply to be written.
    """
    try:
        return json.dumps(values)  # JSON is YAML
    except (RecursionError, ValueError, TypeError) as error:
        raise InvalidInput("The recipe cannot be read.", "Give one mapping of fields to values.") from error


def stage_of(yaml_text: str) -> Stage:
    """The stage that a recipe names in its field ``stage``.

    Raises:
        InvalidInput: It names none, or none that there is.
    """
    named = _load(yaml_text)[0].get("stage")
    if named not in [stage.value for stage in Stage]:
        raise InvalidInput(
            f"The recipe's stage is {named!r}." if named else "The recipe does not name its stage.",
            f"Put one of these in it: {', '.join(f'stage: {stage.value}' for stage in Stage)}.",
        )
    return Stage(named)


def load_config(name: str) -> str:
    """The text of ``configs/<name>.yaml`` as it came with the project.

    Raises:
        NotFound: There is no such file.
    """
    known = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    if name not in known:
        raise NotFound(f"There is no configs/{name}.yaml.", f"Take one of: {', '.join(known)}.")
    return known[name].read_text(encoding="utf-8")


def _load(text: str) -> tuple[dict[str, Any], list[str]]:
    """The mapping in ``text``, and which keys were given twice (the first value is then kept)."""
    if len(text) > _LONGEST_RECIPE:
        raise InvalidInput("This is too long for a recipe.", f"Keep it below {_LONGEST_RECIPE // 1024} KiB.")
    errors: list[str] = []
    try:
        data = _reader().load(text)
    except DuplicateKeyError as error:
        errors.append(_twice(error))
        data = _reader(allow_duplicates=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput("The recipe is not YAML.", _where(error)) from error
    if not isinstance(data, dict):
        raise InvalidInput("A recipe is a list of `field: value` lines.", "Start from a file in configs/.")
    return {str(key): value for key, value in data.items()}, errors


def _reader(*, allow_duplicates: bool = False) -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = allow_duplicates
    return yaml


def _twice(error: DuplicateKeyError) -> str:
    line = error.problem_mark.line + 1 if error.problem_mark else "?"
    key = str(error.problem).split('"')[1] if '"' in str(error.problem) else "a key"
    return f"{key}: given twice (again in line {line}); keep one."


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "It is nested too deeply or holds an impossible value"
    return f"{problem}, line {mark.line + 1}." if mark else f"{problem}."


def _explain(kind: type[Recipe], data: dict[str, Any], error: ValidationError) -> list[str]:
    """Every error as a line that opens with the field's name, contradictions included."""
    lines = [line for item in error.errors() for line in _lines(kind, item)]
    wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
    if not wrong:
        return lines
    # Fields with errors of their own are left out, so that contradictions among the others show too.
    rest = {**_STAND_INS, **{key: value for key, value in data.items() if key not in wrong}}
    try:
        kind.model_validate(rest)
    except ValidationError as second:
        lines += [line for item in second.errors() if not item["loc"] for line in _lines(kind, item)]
    return lines


def _lines(kind: type[Recipe], item: Any) -> list[str]:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return [_unknown(kind, path)]
    if item["type"] == "missing":
        return [f"{path}: is missing; {_description(kind, path)}"]
    message = item["msg"].removeprefix("Value error, ")
    if not path:
        return message.splitlines()  # type: ignore[no-any-return]
    return [f"{path}: {message[0].lower() + message[1:]}, not {item['input']!r}."]


def _unknown(kind: type[Recipe], path: str) -> str:
    *outer, key = path.split(".")
    known = LoraSettings.model_fields if outer == ["lora"] else kind.model_fields
    spoken = {"lr": "learning_rate", "batch": "batch_size", "num_epochs": "epochs", "rank": "r"}
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    guess = spoken.get(key) if spoken.get(key) in known else (near[0] if near else None)
    return f"{path}: unknown key" + (f"; did you mean {guess}?" if guess else ".")


def _description(kind: type[Recipe], path: str) -> str:
    field = kind.model_fields.get(path)
    return field.description or "" if field else ""
