"""What one forward pass keeps for its backward pass, in bytes: activations of the layers, and logits.

The counts follow what autograd saves, tensor by tensor; the comments name them. There are two ways through
a layer: transformers' own, and the leaner one of our worker on the CPU (``engines.body``) for the family
of Llama. A matrix that is not trained keeps nothing of its input, so an input is kept once for all
adapters that read it, and not at all where none does.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.training.memory.records import Device
from studio.training.memory.shapes import ModelShape
from studio.training.recipes import Recipe
from studio.training.records import Stage

#: As in ``engines.head``: positions that our head scores at once, trained and frozen.
HEAD_POSITIONS, FROZEN_POSITIONS = 2048, 256
#: As in ``engines.attention``: probabilities of rows up to the first are kept, above the second the output.
_KEPT_ROW, _FUSED_ROW = 256, 512
#: A heap keeps more than is alive: freed blocks that a small one which lives on was cut out of. Measured
#: with glibc on runs of 4 to 800 MB of activations; blocks that go back to the system lose next to nothing.
_HEAP = 1.3
_PAIRS = (Stage.DPO, Stage.REWARD)


@dataclass(frozen=True)
class Batch:
    """The largest forward pass of a run: its sequences, their length with padding, positions scored.

    Where it is ``packed``, its sequences are laid end to end into one.
    """

    sequences: int
    length: int
    scored: int
    packed: bool = False

    @property
    def tokens(self) -> int:
        """Positions in all."""
        return self.sequences * self.length


@dataclass(frozen=True)
class Way:
    """How the trainer goes through the model: precisions in bytes a number, and which code of ours it uses.

    ``ours`` is our worker on the CPU. ``product`` is the precision of the matrix products, ``stream`` that
    between the layers. ``lean`` is our body for the layers, ``sparse`` our head for the labels,
    ``frozen_head`` its form for a head that is not trained.
    """

    ours: bool
    product: int
    stream: int
    full: bool
    lean: bool
    sparse: bool
    frozen_head: bool

    @property
    def casts(self) -> bool:
        """Whether each product casts its input and its weight first (autocast over float32)."""
        return self.product < self.stream


def way_of(shape: ModelShape, recipe: Recipe, device: Device) -> Way:
    """The way that the worker chooses for a recipe."""
    half = recipe.dtype in ("bf16", "fp16") or (recipe.dtype == "auto" and shape.stored_bytes == 2)
    full = recipe.method == "full"
    ours = device.kind == "cpu" and recipe.engine == "trl"
    sharded = recipe.processes > 1 and recipe.parallel != "ddp"
    sparse = ours and not shape.special_head and not sharded
    return Way(
        ours=ours,
        product=2 if half else 4,
        # Under full training the stream is as wide as the masters of the embedding.
        stream=2 if half and not full else 4,
        full=full,
        # As ``engines.speed``: who names an attention gets that one.
        lean=ours and shape.plain_body and not sharded and recipe.attention == "auto",
        sparse=sparse,
        frozen_head=sparse and not full,
    )


def largest_batch(recipe: Recipe, tokens_per_row: int, scored_share: float = 1.0) -> Batch:
    """The batch that decides the peak: as many rows as the recipe puts together, each the longest there is.

    Args:
        recipe: The recipe.
        tokens_per_row: Tokens of the longest row, prompt and answer together; cut at ``max_length``.
        scored_share: Share of those tokens that is learnt.
    """
    packed = bool(getattr(recipe, "packing", False))
    length = recipe.max_length if packed else min(tokens_per_row, recipe.max_length)
    sequences = recipe.batch_size * (2 if recipe.STAGE in _PAIRS else 1)
    scored = 0 if recipe.STAGE is Stage.REWARD else round(sequences * length * scored_share)
    return Batch(sequences, max(length, 1), scored, packed)


def kept(shape: ModelShape, recipe: Recipe, batch: Batch, way: Way) -> int:
    """Bytes of activations that are alive when the backward pass is at its worst."""
    layer = layer_bytes(shape, recipe, batch, way) * batch.tokens
    # The last norm, what the head reads, and the embedded rows.
    ends = (4 + 3 * way.stream) * shape.hidden * batch.tokens
    # One layer more: the gradients of the layer that the backward pass is in.
    if not recipe.recompute:
        return round(((shape.layers + 1) * layer + ends) * (_HEAP if way.ours else 1))
    # Each layer keeps its input only, and is computed again when its turn comes.
    return shape.layers * way.stream * shape.hidden * batch.tokens + 2 * layer + ends


def layer_bytes(shape: ModelShape, recipe: Recipe, batch: Batch, way: Way) -> int:
    """Bytes that one layer keeps for one token."""
    inside = _lean_layer if way.lean else _plain_layer
    total = inside(shape, recipe, batch, way)
    return total if way.full else total + _adapters(shape, recipe, way)


def _lean_layer(shape: ModelShape, recipe: Recipe, batch: Batch, way: Way) -> int:
    """``engines.body``: each step of a layer keeps its input, and the attention its rotated heads."""
    e, wide = way.product, shape.intermediate
    heads = e * (shape.query + 2 * shape.keys)
    if batch.length <= _KEPT_ROW:
        heads += e * shape.heads * batch.length
    elif batch.length > _FUSED_ROW:
        heads += e * shape.query + 4 * shape.heads
    trained = way.full or recipe.lora.targets == "all-linear"
    # Attention's answer, gate and up, and their product where a matrix that is trained reads it.
    return _reads(shape, recipe, way) + heads + e * shape.query + e * wide * (3 if trained else 2)


def _plain_layer(shape: ModelShape, recipe: Recipe, batch: Batch, way: Way) -> int:
    """transformers' own layer: silu and the products of the MLP each keep what they read."""
    e, wide = way.product, shape.intermediate
    # Queries, keys and values after the rotation (keys and values spread over all heads under a mask), the
    # output, its copy in the order of the tokens, and a sum for each head.
    heads = e * shape.query * 5 + 4 * shape.heads
    if way.ours:
        # The mask of the padding, or of packed rows, in the precision of the products.
        heads += e * (batch.tokens if batch.packed else batch.length)
    if recipe.attention == "eager":
        # Probabilities for every pair of positions, in float32 and cast back.
        heads += shape.heads * batch.length * (4 + e)
    trained = way.full or recipe.lora.targets == "all-linear"
    return _reads(shape, recipe, way) + heads + e * wide * (4 if trained else 3)


def _reads(shape: ModelShape, recipe: Recipe, way: Way) -> int:
    """The two norms of a layer and what the products after them read."""
    if way.full:
        # Input and normalised input of each, and a cast for each of the five products that read them.
        casts = 5 * way.product if way.casts else 2 * way.stream
        return shape.hidden * (4 * way.stream + casts)
    # In float32 inside transformers' norm; ours keeps the stream as it is.
    norms = 2 * (way.stream if way.lean else 4)
    trained = recipe.lora.targets == "all-linear"
    return shape.hidden * (norms + way.product * (2 if trained else 1))


def _adapters(shape: ModelShape, recipe: Recipe, way: Way) -> int:
    e, lora = way.product, recipe.lora
    matrices = shape.adapted(lora.targets)
    inner = e * lora.r * sum(matrix.count for matrix in matrices)
    inputs = sum(matrix.inputs * matrix.count for matrix in matrices)
    outputs = sum(matrix.outputs * matrix.count for matrix in matrices)
    # With dropout every adapter keeps its own thinned copy of the input, and where it was thinned.
    thinned = (e + 1) * inputs if lora.dropout > 0 else 0
    # DoRA scales the sum of both products, and keeps it.
    scaled = 2 * e * outputs if lora.dora else 0
    return (inner + thinned + scaled) // max(shape.layers, 1)


def logits(shape: ModelShape, recipe: Recipe, batch: Batch, way: Way) -> int:
    """Bytes that scoring takes at its worst moment.

    Each position that is scored at once has its log-softmax in float32 and the gradients on both sides of
    it. Our head for labels scores some thousand at once; where it is frozen, a few hundred, of which the
    gradient for its input is all that stays.
    """
    if recipe.STAGE is Stage.REWARD:
        return 0
    if way.frozen_head:
        slopes = way.product * shape.hidden * batch.scored
        return min(batch.scored, FROZEN_POSITIONS) * shape.vocabulary * way.product + slopes
    positions = min(batch.scored, HEAD_POSITIONS) if way.sparse else batch.tokens
    return positions * shape.vocabulary * (4 + 4 + 4)
