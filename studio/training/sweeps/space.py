"""The space of a sweep: which fields of a recipe may vary, over what, and how a trial's values enter it.

The invariant: whatever a span holds, each of its values alone makes a good recipe of the base one. Values
that contradict each other only together are found when their trial starts, which then fails with that reason.

A field that changes what the objective is measured on is refused: its trials could not be compared.
"""

from __future__ import annotations

import itertools
import math
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from studio.core import InvalidInput
from studio.training.recipe_fields import RECIPES, field_of
from studio.training.recipes import Recipe, parse_recipe, recipe_text
from studio.training.records import Stage
from studio.training.sweeps.records import Choices, FloatRange, IntRange, Objective, Params, Span, Value

#: Fields that decide what is trained on what, or what the objective is measured on.
_FIXED = {
    **dict.fromkeys(("stage", "model", "dataset", "output", "weight", "mix"), "is the same for every trial"),
    **dict.fromkeys(
        ("max_length", "packing", "assistant_only", "eval_every", "eval_rows"),
        "changes what the trials are measured on, so they could not be compared",
    ),
    **dict.fromkeys(
        ("engine", "processes", "parallel", "log_every", "save_every", "keep_checkpoints"),
        "does not change what is learnt",
    ),
}
#: Fields that are part of the loss: a lower one would say nothing.
_OF_THE_LOSS = ("beta", "loss", "label_smoothing", "desirable_weight", "undesirable_weight", "center_rewards")
#: What is worth trying first, by path; rates for an adapter.
_OFFERED = {
    "learning_rate": "1e-5 to 1e-3 log",
    "lora.r": "8, 16, 32, 64",
    "epochs": "1, 2, 3",
    "batch_size": "2, 4, 8",
    "gradient_accumulation": "1, 2, 4",
    "warmup_ratio": "0 to 0.2",
    "weight_decay": "0 to 0.1",
    "lora.dropout": "0 to 0.1",
    "lora.plus_ratio": "1, 4, 16",
    "scheduler": "cosine, linear, constant",
    "neftune_alpha": "0, 5, 10",
    "beta": "0.01 to 0.5 log",
    "label_smoothing": "0 to 0.2",
    "seed": "0, 1, 2",
}
#: Stages that measure how many pairs are ranked right.
JUDGED_BY_ACCURACY = (Stage.DPO, Stage.REWARD)
_LOWER_RATES = (Stage.DPO, Stage.KTO)
#: Values of a range in a grid.
_POINTS = 5
_MOST_POINTS = 1000
_RANGE = re.compile(r"(\S+) to (\S+?)(?: step (\S+?))?( log)?")


def offered(stage: Stage) -> dict[str, str]:
    """The fields of a stage that are worth varying, each with values to begin with, as people write them."""
    found = {path: text for path, text in _OFFERED.items() if field_of(RECIPES[stage], path) is not None}
    if stage not in JUDGED_BY_ACCURACY:
        found = {path: text for path, text in found.items() if path not in _OF_THE_LOSS}
    if stage in _LOWER_RATES:
        found["learning_rate"] = "1e-6 to 2e-4 log"
    return found


def read_space(recipe: Recipe, objective: Objective, given: Mapping[str, Any]) -> dict[str, Span]:
    """The spans that are ``given`` by path: a list, a mapping with low and high, or a text as in ``offered``.

    Raises:
        InvalidInput: A field cannot vary, or a value does not fit; ``details`` say all of it.
    """
    found: dict[str, Span] = {}
    errors: list[str] = []
    for path, raw in given.items():
        try:
            _refuse_fixed(recipe, objective, path)
            span = _span(field_of(type(recipe), path), raw)
            _try(recipe, path, span)
            found[path] = span
        except InvalidInput as error:
            errors.append(f"space.{path}: {error.message} {error.todo}".strip())
    if errors:
        raise InvalidInput(
            "This space cannot be searched.", "Mend the fields below; nothing was started.", tuple(errors)
        )
    return found


def applied(recipe: Recipe, params: Params) -> str:
    """The text of ``recipe`` with a trial's values in it."""
    values = recipe.model_dump(mode="json", exclude_unset=True) | {"stage": recipe.STAGE.value}
    for path, value in params.items():
        *outer, name = path.split(".")
        place = values
        for part in outer:
            place = place.setdefault(part, {})
        place[name] = value
    return recipe_text(values)


def grid(space: Mapping[str, Span]) -> tuple[dict[str, Value], ...]:
    """Every combination; a range of numbers gives up to ``_POINTS`` of them.

    Raises:
        InvalidInput: They are too many.
    """
    columns = {path: _points(span) for path, span in space.items()}
    count = math.prod(map(len, columns.values()))
    if count > _MOST_POINTS:
        raise InvalidInput(
            f"This grid has {count:,} combinations.", f"Leave values out until {_MOST_POINTS:,} remain."
        )
    return tuple(dict(zip(columns, row, strict=True)) for row in itertools.product(*columns.values()))


def words(span: Span) -> str:
    """A span as people write it; reading it gives the same span."""
    if isinstance(span, Choices):
        return ", ".join(_plain(value) for value in span.values)
    step = f" step {span.step}" if isinstance(span, IntRange) and span.step != 1 else ""
    return f"{span.low:g} to {span.high:g}{step}{' log' if span.log else ''}"


def _refuse_fixed(recipe: Recipe, objective: Objective, path: str) -> None:
    field = field_of(type(recipe), path)
    if field is None or path.rsplit(".", maxsplit=1)[-1].isdecimal() or path in ("lora",):
        raise InvalidInput("A recipe of this stage has no such field.", "Take one of: " + _known(recipe))
    if path.split(".", maxsplit=1)[0] in _FIXED:
        raise InvalidInput(f"This field {_FIXED[path.split('.', maxsplit=1)[0]]}.", "Set it in the recipe.")
    if objective is Objective.EVAL_LOSS and path in _OF_THE_LOSS:
        raise InvalidInput(
            "This field is part of the loss, so a lower loss would not mean a better model.",
            "Take the objective eval/rewards_accuracy where the stage has it, or set it in the recipe.",
        )


def _known(recipe: Recipe) -> str:
    return ", ".join(offered(recipe.STAGE)) + "."


def _span(field: Any, raw: Any) -> Span:
    if isinstance(raw, str):
        raw = _written(raw)
    kind = field.annotation
    if isinstance(raw, list | tuple):
        return _choices(kind, raw)
    if not isinstance(raw, Mapping) or not {"low", "high"} <= set(raw) <= {"low", "high", "step", "log"}:
        raise InvalidInput(
            "These are no values.", "Write a list, or low and high, with step or log if wanted."
        )
    if kind not in (int, float):
        raise InvalidInput("This field is no number.", "Write a list of its values.")
    return _range(kind, raw)


def _written(text: str) -> Any:
    """``8, 16`` is a list; ``1e-5 to 1e-3 log`` is a range."""
    found = _RANGE.fullmatch(" ".join(text.split()))
    if not found:
        return [_word(part.strip()) for part in text.split(",") if part.strip()]
    low, high, step, log = found.groups()
    return {"low": _word(low), "high": _word(high), "log": bool(log)} | (
        {"step": _word(step)} if step else {}
    )


def _word(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _choices(kind: Any, raw: Any) -> Choices:
    values = [_cast(kind, value) for value in raw]
    unique = tuple({(type(value), value): value for value in values}.values())
    if not 1 <= len(unique) <= 50:
        raise InvalidInput(f"{len(unique)} values are no choice.", "Write 1 to 50 different ones.")
    return Choices(unique)


def _range(kind: Any, raw: Mapping[str, Any]) -> Span:
    low, high = _cast(kind, raw["low"]), _cast(kind, raw["high"])
    log, step = bool(raw.get("log", False)), _cast(kind, raw.get("step", 1))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        raise InvalidInput(f"From {raw['low']} to {raw['high']} is no range.", "Put the smaller one first.")
    if log and low <= 0:
        raise InvalidInput("A logarithmic range cannot begin at 0.", "Begin above 0, or leave log out.")
    if kind is float:
        if "step" in raw:
            raise InvalidInput("A range of numbers has no step.", "Leave it out, or write a list.")
        return FloatRange(float(low), float(high), log)
    if not isinstance(step, int) or step < 1 or (log and step != 1):
        raise InvalidInput("The step does not fit.", "Write 1 or more, and none together with log.")
    return IntRange(int(low), int(high) - (int(high) - int(low)) % step, step, log)


def _cast(kind: Any, value: Any) -> Value:
    """``value`` as the field has it: the space of a float holds no whole numbers that look alike."""
    if isinstance(value, bool) and kind is not bool:
        raise InvalidInput(f"{value!r} is no number.", "Write numbers.")
    if kind is float and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if kind is int and isinstance(value, int | float) and float(value).is_integer():
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if _is_literal(kind) and value in get_args(kind):
        return str(value)
    wanted = {int: "whole numbers", float: "numbers", bool: "true or false"}.get(kind)
    raise InvalidInput(f"{value!r} does not fit.", f"Write {wanted or 'some of ' + _options(kind)}.")


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal and not isinstance(kind, types.UnionType)


def _options(kind: Any) -> str:
    return ", ".join(map(str, get_args(kind)))


def _try(recipe: Recipe, path: str, span: Span) -> None:
    """See that the recipe takes each value, or both ends of a range."""
    values = span.values if isinstance(span, Choices) else (span.low, span.high)
    for value in values:
        try:
            parse_recipe(recipe.STAGE, applied(recipe, {path: value}))
        except InvalidInput as error:
            raise InvalidInput(f"{_plain(value)} does not fit:", " ".join(error.details)) from error


def _points(span: Span) -> tuple[Value, ...]:
    if isinstance(span, Choices):
        return span.values
    if isinstance(span, IntRange) and not span.log and (span.high - span.low) // span.step < _POINTS:
        return tuple(range(span.low, span.high + 1, span.step))
    parts = [place / (_POINTS - 1) for place in range(_POINTS)]
    if span.log:
        spread = [span.low * (span.high / span.low) ** part for part in parts]
    else:
        spread = [span.low + (span.high - span.low) * part for part in parts]
    if isinstance(span, FloatRange):
        # Few digits: what is tried should read like something a person would write.
        inner = (float(f"{value:.3g}") for value in spread[1:-1])
        return tuple(dict.fromkeys((span.low, *inner, span.high)))
    stepped = (span.low + round((value - span.low) / span.step) * span.step for value in spread)
    return tuple(dict.fromkeys(stepped))


def _plain(value: Value) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
