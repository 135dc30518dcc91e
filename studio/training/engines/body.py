"""A transformer's body over packed rows: the same numbers as the model's own, without its padding.

It knows the family of Llama (Llama, Mistral, Qwen2, Qwen3: norm, attention, norm, gated MLP). Other
models, quantised ones and GPUs keep their own forward pass. Modules and parameters stay the model's: only
the way from one to the next is ours, so that adapters, checkpoints and saving know nothing of it.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPast

from studio.training.engines.adapted import Projection
from studio.training.engines.attention import Heads, RowAttention
from studio.training.engines.kernels import usable
from studio.training.engines.packing import Packed, pack, pack_joined

#: Classes of layers whose steps are those of ``_Layer``.
_KNOWN = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")


class Body:
    """What ``speed_up`` puts beside a model: calls its layers on packed rows."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers = [_Layer(layer, model.config) for layer in model.layers]
        #: Everything in the body that is trained.
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    @property
    def divisible(self) -> bool:
        """Whether threads may take some rows each: plain adapters, nothing drawn at random."""
        return all(projection.joined for layer in self._layers for projection in layer.projections)

    def refresh(self) -> None:
        """Take over the adapters as they stand; to be called before the body is."""
        for layer in self._layers:
            for projection in layer.projections:
                projection.refresh()

    def __call__(self, embedded: torch.Tensor, packed: Packed) -> torch.Tensor:
        """The last hidden states [tokens, hidden] of ``embedded`` [rows, columns, hidden]."""
        model = self._model
        hidden = embedded.flatten(0, 1).index_select(0, packed.places)
        cos, sin = model.rotary_emb(hidden[None], position_ids=packed.positions[None])
        half = cos.shape[-1] // 2
        turn = cos[0, :, :half].float().contiguous(), sin[0, :, :half].float().contiguous()
        random = not self.divisible
        for layer in self._layers:
            if layer.recomputed and torch.is_grad_enabled():
                hidden = checkpoint(
                    layer, hidden, *turn, packed, use_reentrant=False, preserve_rng_state=random
                )
            else:
                hidden = layer(hidden, *turn, packed)
        return model.norm(hidden)


class _Layer:
    """One layer, its linear modules joined where they read the same input."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._layer = layer
        self._heads = _heads(attention, config)
        self._joined = Projection([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = Projection([attention.o_proj])
        self._gated = Projection([mlp.gate_proj, mlp.up_proj])
        self._down = Projection([mlp.down_proj])

    @property
    def projections(self) -> tuple[Projection, ...]:
        """Its groups of linear layers."""
        return self._joined, self._out, self._gated, self._down

    @property
    def recomputed(self) -> bool:
        """Whether its activations are computed again in the backward pass."""
        return bool(self._layer.gradient_checkpointing and self._layer.training)

    def __call__(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, packed: Packed
    ) -> torch.Tensor:
        hidden, normed = _norm(self._layer.input_layernorm, hidden, self._joined.room)
        joined = self._normed(self._joined(normed))
        rooms = self._joined.room, self._out.room
        hidden = self._out(RowAttention.apply(joined, cos, sin, packed, self._heads, rooms), hidden)
        hidden, normed = _norm(self._layer.post_attention_layernorm, hidden, self._gated.room)
        rooms = self._gated.room, self._down.room
        return self._down(_Gate.apply(self._gated(normed), rooms), hidden)

    def _normed(self, joined: torch.Tensor) -> torch.Tensor:
        """Queries and keys through norms of their own, where the model has them (Qwen3)."""
        attention, heads = self._layer.self_attn, self._heads
        if not hasattr(attention, "q_norm"):
            return joined
        sizes = [heads.queries * heads.size, heads.keys * heads.size, heads.keys * heads.size]
        query, key, value = joined.split(sizes, dim=1)
        query = _norm(attention.q_norm, query.unflatten(1, (-1, heads.size)))[1].flatten(1)
        key = _norm(attention.k_norm, key.unflatten(1, (-1, heads.size)))[1].flatten(1)
        return torch.cat((query, key, value), dim=1)


class _Gate(torch.autograd.Function):  # type: ignore[misc]
    """[tokens, 2 * inner], gate beside up -> silu(gate) * up; ``rooms`` behind its gradient and its rows."""

    @staticmethod
    def forward(ctx: Any, gated: torch.Tensor, rooms: tuple[int, int]) -> torch.Tensor:
        ctx.save_for_backward(gated)
        ctx.room = rooms[0]
        fast = usable(gated)
        if fast:
            return fast.gate_forward(gated, rooms[1])
        gate, up = gated.chunk(2, dim=1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (gated,) = ctx.saved_tensors
        fast = usable(gated, grad)
        if fast:
            return fast.gate_backward(grad, gated, ctx.room), None
        gate, up = gated.chunk(2, dim=1)
        found = torch.empty_like(gated)
        to_gate, to_up = found.chunk(2, dim=1)
        torch.mul(functional.silu(gate), grad, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=to_gate)
        return found, None


class _RootMeanSquare(torch.autograd.Function):  # type: ignore[misc]
    """x as it is, and x over its root mean square times a frozen weight; in float32 inside.

    Both leave here so that both gradients come back here, and are added on the way.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float, room: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.set_materialize_grads(False)
        fast = usable(x, weight)
        if fast:
            out, factor = fast.norm_forward(x, weight, epsilon, room)
            factor = factor[..., None]
        else:
            with torch.autocast(x.device.type, enabled=False):
                wide = x.float()
                size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
                factor = torch.rsqrt_(size.square_().div_(x.shape[-1]).add_(epsilon))
                out = (wide * factor).to(x.dtype).mul_(weight)
        ctx.save_for_backward(x, weight, factor)
        return x.view_as(x), out

    @staticmethod
    def backward(ctx: Any, beside: torch.Tensor | None, grad: torch.Tensor) -> Any:
        x, weight, factor = ctx.saved_tensors
        fast = usable(x, weight, grad, *(() if beside is None else (beside,)))
        if fast:
            return fast.norm_backward(grad, beside, x, weight, factor), None, None, None
        normed = x * factor
        wide = (grad * weight).float()
        shared = torch.linalg.vecdot(wide, normed, dim=-1).div_(x.shape[-1]).unsqueeze(-1)
        found = wide.addcmul_(normed, shared, value=-1).mul_(factor)
        return (found if beside is None else found.add_(beside)).to(x.dtype), None, None, None


def _norm(module: Any, x: torch.Tensor, room: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """``x``, to be used from here on in its place, and what the norm makes of it."""
    if module.weight.requires_grad or module.weight.dtype != x.dtype:
        return x, module(x)
    both: tuple[torch.Tensor, torch.Tensor] = _RootMeanSquare.apply(
        x, module.weight, module.variance_epsilon, room
    )
    return both


def _heads(attention: Any, config: Any) -> Heads:
    return Heads(
        config.num_attention_heads, config.num_key_value_heads, attention.head_dim, attention.scaling
    )


def speed_up(model: Any) -> Body | None:
    """Let ``model`` (a body without a head) run on packed rows from now on; None if it is not known here."""
    if not _fits(model):
        return None
    body = Body(model)
    plain = type(model).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        packed = _packed(args, kwargs)
        if packed is None:
            return plain(self, *args, **kwargs)
        ids, embedded = kwargs.get("input_ids"), kwargs.get("inputs_embeds")
        embedded = self.embed_tokens(ids) if embedded is None else embedded
        rows, columns, size = embedded.shape
        body.refresh()
        hidden = body(embedded, packed)
        whole = hidden.new_zeros(rows * columns, size).index_copy(0, packed.places, hidden)
        return BaseModelOutputWithPast(last_hidden_state=whole.view(rows, columns, size))

    model.forward = types.MethodType(forward, model)
    return body


#: What a call may name; with anything else the model's own forward pass is taken.
_UNDERSTOOD = {
    *("input_ids", "attention_mask", "position_ids", "inputs_embeds", "past_key_values", "use_cache"),
    *("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx", "return_dict"),
}


def packed_rows(given: dict[str, Any], kept: torch.Tensor | None = None) -> Packed | None:
    """The batch of a call as packed rows, of them only what is ``kept`` if that is given; None if it has
    to go the model's own way."""
    unknown = {name for name, value in given.items() if value is not None and value is not False}
    if unknown - _UNDERSTOOD or given.get("use_cache") or given.get("past_key_values") is not None:
        return None
    mask, positions = given.get("attention_mask"), given.get("position_ids")
    if positions is not None:
        return pack_joined(positions) if mask is None and len(positions) == 1 else None
    ids = given.get("input_ids") if given.get("input_ids") is not None else given.get("inputs_embeds")
    if ids is None or (mask is not None and mask.dim() != 2):
        return None
    there = torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device) if mask is None else mask.bool()
    return pack(there if kept is None else there & kept)


def _packed(args: Any, kwargs: dict[str, Any]) -> Packed | None:
    return None if args else packed_rows(kwargs)


def _fits(model: Any) -> bool:
    config = model.config
    layers = getattr(model, "layers", ())
    windowed = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    windowed |= config.model_type == "mistral" and config.sliding_window is not None
    return (
        len(layers) > 0
        and all(type(layer).__name__ in _KNOWN for layer in layers)
        and config.hidden_act == "silu"
        and not windowed
        and not config.attention_dropout
        and model.embed_tokens.weight.device.type == "cpu"
    )
