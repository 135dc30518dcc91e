"""A reward model: a head that gives an answer one number, trained on pairs (Bradley-Terry).

The number is read at the last token of a conversation. It has no zero and no unit: only differences
between answers to the same prompt mean anything, unless ``center_rewards`` pulls the mean to zero.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from studio.training.engines.arguments import common_arguments
from studio.training.engines.saving import Saving, attach
from studio.training.engines.setup import Setup, Trainer
from studio.training.recipes import RewardRecipe


class _Reward(Saving, RewardTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def trainer(setup: Setup) -> Trainer:
    """The trainer of a reward model."""
    recipe = setup.task.recipe
    assert isinstance(recipe, RewardRecipe)
    common = common_arguments(setup.task, setup.loaded, evaluate=setup.fresh and bool(setup.validation))
    made = _Reward(
        model=setup.loaded.model,
        args=RewardConfig(center_rewards_coefficient=recipe.center_rewards or None, **common),
        train_dataset=Dataset.from_list(setup.train),
        eval_dataset=Dataset.from_list(setup.validation) if setup.validation else None,
        processing_class=setup.loaded.tokenizer,
        callbacks=[setup.meter],
    )
    attach(made, setup)
    return made
