"""What makes a model's steps fast, put on once, after its trainer is made.

Losses, gradients and weights stay those of TRL's own trainers, within rounding. In the order of a step:

* ``packing``: no padding, and nothing of a row after its last label
* ``crew``: each thread has rows of its own
* ``adapted``: LoRA's products inside those of the layers it adapts
* ``attention``: rows of like length as one batch of matrix products
* ``kernels``: what lies between the products, in C
* ``head``: logits only for labels, never kept

``python -m bench.training`` measures them all together, against TRL on the same rows.
"""

from __future__ import annotations

from typing import Any

from studio.training.engines import body, head
from studio.training.recipes import Recipe
from studio.training.records import Stage


def speed_up(trainer: Any, model: Any, recipe: Recipe) -> None:
    """Make ``model`` (without its adapter's wrapper) train as fast as this machine can, where we know how.

    On GPUs, in shards, and for models that are not known here, all stays as TRL has it.
    """
    sharded = recipe.processes > 1 and recipe.parallel != "ddp"
    if sharded or next(model.parameters()).device.type != "cpu":
        return
    # Who names an attention gets that one.
    fast = body.speed_up(model.base_model) if recipe.attention == "auto" else None
    # A reward model has a head of its own.
    if recipe.STAGE is not Stage.REWARD and head.can_score(model):
        head.score_only_labels(model, fast)
    _spare_walks(trainer)


def _spare_walks(trainer: Any) -> None:
    # At every step the trainer walks through the 2,500 modules of an adapted model four times: to count its
    # parameters (for a number that nobody shows), to switch on what is on, to clear gradients, and to list
    # them. Without the first three a step has 25 to 40 ms less in which only one core has work.
    trainer.floating_point_ops = lambda _inputs: 0
    model = trainer.model
    plain_train = model.train
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def train(mode: bool = True) -> Any:
        return model if model.training == mode else plain_train(mode)

    def zero_grad(set_to_none: bool = True) -> None:
        for parameter in trained:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    model.train, model.zero_grad = train, zero_grad
