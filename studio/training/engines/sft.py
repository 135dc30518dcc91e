"""CPT and SFT."""

from __future__ import annotations

from dataclasses import replace

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from studio.training.engines.arguments import common_arguments
from studio.training.engines.saving import Saving, attach
from studio.training.engines.setup import Setup, Trainer


class _Sft(Saving, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer over rows that have their tokens already."""


def trainer(setup: Setup) -> Trainer:
    """The trainer of a CPT or SFT task."""
    recipe = setup.task.recipe
    packing = getattr(recipe, "packing", False)
    if packing and setup.mixture is not None:
        # TRL packs what it is given once, so a packed run has the rows of the first epoch in each.
        rows = [setup.train[place] for place in setup.mixture.order(0)]
        setup = replace(setup, train=rows, mixture=None)
    common = common_arguments(setup.task, setup.loaded, evaluate=setup.fresh and bool(setup.validation))
    made = _Sft(
        model=setup.loaded.model,
        args=SFTConfig(packing=packing, **common),
        train_dataset=Dataset.from_list(setup.train),
        eval_dataset=Dataset.from_list(setup.validation) if setup.validation else None,
        processing_class=setup.loaded.tokenizer,
        callbacks=[setup.meter],
    )
    attach(made, setup)
    return made
