"""How much memory a run will need at its peak, from the shapes of its model, its recipe and its rows.

The parts are counted, not measured; a calibration (``calibration``) then corrects each kind of part by
what past runs of this machine needed. The peak is that of training steps: loading and saving need less
wherever activations are kept, and where they do not, what they need more counts as overhead.

It does not know a model's custom code, fragmentation beyond what the calibration saw, or other programs.
GPU figures are counted by the same rules and are unproven there.
"""

from __future__ import annotations

from studio.training.memory import activations
from studio.training.memory.calibration import Calibration
from studio.training.memory.records import Device, MemoryEstimate, Part
from studio.training.memory.shapes import AdapterShape, ModelShape
from studio.training.recipes import Recipe

_MB = 1 << 20
#: Libraries and allocator before anything is loaded: resident on the CPU; context and kernels on a GPU.
CPU_OVERHEAD = 620 * _MB
CUDA_OVERHEAD = 1100 * _MB
#: Four bits a weight, eight for the scale of each block of 64, and a float32 for 256 of those.
_PACKED = 0.5 + 1 / 64 + 4 / (64 * 256)


def estimate(
    shape: ModelShape,
    recipe: Recipe,
    tokens_per_row: int,
    device: Device,
    calibration: Calibration | None = None,
    *,
    adapter: AdapterShape | None = None,
    scored_share: float = 1.0,
) -> MemoryEstimate:
    """What a run needs, what is there, and the smallest change that makes it fit.

    Args:
        shape: The base model.
        recipe: What is to be done with it.
        tokens_per_row: Tokens of the longest row; cut at ``max_length``.
        device: Where it would train.
        calibration: What past runs of this machine taught; None takes the counts as they are.
        adapter: The adapter that the run goes on from, if it does.
        scored_share: Share of a row's tokens that is learnt, at most 1.
    """
    from studio.training.memory.fixes import find_fix

    learned = calibration or Calibration()

    def needed(changed: Recipe) -> tuple[Part, ...]:
        counted = count(shape, changed, tokens_per_row, device, adapter=adapter, scored_share=scored_share)
        return learned.corrected(counted)

    parts = needed(recipe)
    total = sum(part.bytes for part in parts)
    fits = total <= device.available
    fix = None if fits else find_fix(recipe, tokens_per_row, device.available, needed)
    return MemoryEstimate(parts, total, device.available, fits, fix, device.kind, learned.observed)


def count(
    shape: ModelShape,
    recipe: Recipe,
    tokens_per_row: int,
    device: Device,
    *,
    adapter: AdapterShape | None = None,
    scored_share: float = 1.0,
) -> tuple[Part, ...]:
    """The parts by counting alone, in the order of ``records.PARTS``."""
    batch = activations.largest_batch(recipe, tokens_per_row, scored_share)
    way = activations.way_of(shape, recipe, device)
    trained = _trained(shape, recipe, adapter)
    share = _share(recipe)
    # Without a GPU all processes of a run share one memory.
    times = recipe.processes if device.kind == "cpu" else 1
    kept = activations.kept(shape, recipe, batch, way)
    logits = activations.logits(shape, recipe, batch, way)
    sizes = {
        "weights": _weights(shape, recipe, way) * share,
        "adapters": 4 * trained * share if recipe.method != "full" else 0,
        "gradients": _gradients(shape, recipe, 4 * trained * share, kept + logits),
        "optimizer": 8 * trained * share,
        "activations": kept,
        "logits": logits,
        "overhead": CPU_OVERHEAD if device.kind == "cpu" else CUDA_OVERHEAD,
    }
    why = _reasons(shape, recipe, batch, way, trained)
    return tuple(Part(name, round(bytes_ * times), why[name]) for name, bytes_ in sizes.items())


def _trained(shape: ModelShape, recipe: Recipe, adapter: AdapterShape | None) -> int:
    """Parameters that are trained; an adapter that is gone on from keeps its own rank."""
    if recipe.method == "full":
        return shape.parameters
    if adapter is not None and adapter.parameters:
        return adapter.parameters
    matrices = shape.adapted(recipe.lora.targets)
    trained = sum(recipe.lora.r * (one.inputs + one.outputs) * one.count for one in matrices)
    if recipe.lora.dora:
        trained += sum(one.outputs * one.count for one in matrices)
    return trained


def _gradients(shape: ModelShape, recipe: Recipe, all_of_them: float, freed: float) -> float:
    """Bytes of gradients beside activations and logits, at the worst moment.

    They come as activations go. Only where a step has several forward passes do those of the passes
    before stand beside all activations.
    """
    if recipe.gradient_accumulation > 1 or recipe.method != "full":
        return all_of_them
    head = 4 * shape.embedding if not shape.tied else 0
    return max(head, all_of_them - freed)


def _weights(shape: ModelShape, recipe: Recipe, way: activations.Way) -> float:
    if recipe.method == "full":
        # Masters in float32; autocast keeps a copy of the matrices in half precision during a step.
        copies = way.product * (shape.in_linears + shape.embedding) if way.casts else 0
        return 4 * shape.parameters + copies
    if recipe.method == "qlora":
        rest = shape.parameters - shape.in_linears
        return _PACKED * shape.in_linears + way.product * rest
    return way.product * (shape.parameters + _joined(shape, recipe, way))


def _joined(shape: ModelShape, recipe: Recipe, way: activations.Way) -> int:
    """Parameters that stand twice: our body lays matrices with the same input under each other.

    The file that the weights came from stays mapped for the others, so its pages are not given back.
    """
    lora = recipe.lora
    plain = lora.dropout == 0 and not lora.dora
    if not (way.lean and plain and way.product == shape.stored_bytes):
        return 0
    together = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    return sum(matrix.parameters for matrix in shape.adapted(lora.targets) if matrix.name in together)


def _share(recipe: Recipe) -> float:
    """The share of weights and optimizer that one process holds."""
    cut = recipe.processes > 1 and recipe.parallel in ("fsdp", "deepspeed")
    return 1 / recipe.processes if cut else 1.0


def _twice(shape: ModelShape, recipe: Recipe, way: activations.Way) -> str:
    if recipe.method == "full" and way.casts:
        return "; a copy in half precision during each step"
    if recipe.method == "lora" and _joined(shape, recipe, way):
        return "; matrices with the same input a second time, side by side"
    return ""


def _reasons(
    shape: ModelShape, recipe: Recipe, batch: activations.Batch, way: activations.Way, trained: int
) -> dict[str, str]:
    bits = {"full": 32, "qlora": 4}.get(recipe.method, 8 * way.product)
    again = "the input of each layer, and one layer at a time" if recipe.recompute else "every layer's"
    return {
        "weights": f"{shape.parameters:,} parameters, {bits} bits each{_twice(shape, recipe, way)}",
        "adapters": "none" if recipe.method == "full" else f"{trained:,} parameters in float32",
        "gradients": f"one number for each of {trained:,} trained parameters",
        "optimizer": "two running means for each trained parameter",
        "activations": f"{again} for {batch.sequences:,} sequences of {batch.length:,} tokens",
        "logits": f"{shape.vocabulary:,} scores for each position that is scored at once",
        "overhead": "libraries, the allocator's reserve, and copies while loading and saving",
    }
