"""DPO over rows that have their tokens already, with a reference that is fixed in numbers."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from studio.training.engines.arguments import common_arguments
from studio.training.engines.reference import answer_log_probs, drop_second_adapter, scored
from studio.training.engines.saving import Saving, attach
from studio.training.engines.setup import Setup, Trainer
from studio.training.recipes import DpoRecipe


class _Dpo(Saving, DPOTrainer):  # type: ignore[misc]
    train_dataset: Any
    eval_dataset: Any

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def fix_reference(self) -> None:
        """Store the log-probabilities of the model as it stands with every pair."""
        self.train_dataset = self._with_reference(self.train_dataset)
        if self.eval_dataset is not None:
            self.eval_dataset = self._with_reference(self.eval_dataset)
        self.precompute_ref_logps = True

    def _with_reference(self, dataset: Any) -> Any:
        size = self.args.per_device_eval_batch_size
        chosen, rejected = scored(self.setup, dataset.to_list(), size, 2, self._score)
        dataset = dataset.add_column("ref_chosen_logps", chosen)
        return dataset.add_column("ref_rejected_logps", rejected)

    def _score(self, pairs: list[Any]) -> list[list[float]]:
        """The log-probabilities of the chosen and of the rejected answers."""
        batch = self._prepare_inputs(self.data_collator(pairs))
        found = answer_log_probs(self, batch["input_ids"], batch["attention_mask"], batch["completion_mask"])
        return [half.tolist() for half in found.chunk(2)]


def trainer(setup: Setup) -> Trainer:
    """The trainer of a DPO task; scores the reference before it returns.

    Raises:
        Stopped: Someone asked to stop meanwhile.
    """
    recipe = setup.task.recipe
    assert isinstance(recipe, DpoRecipe)
    common = common_arguments(setup.task, setup.loaded, evaluate=setup.fresh and bool(setup.validation))
    arguments = DPOConfig(
        beta=recipe.beta, loss_type=[recipe.loss], label_smoothing=recipe.label_smoothing, **common
    )
    made = _Dpo(
        model=setup.loaded.model,
        args=arguments,
        train_dataset=Dataset.from_list(setup.train),
        eval_dataset=Dataset.from_list(setup.validation) if setup.validation else None,
        processing_class=setup.loaded.tokenizer,
        callbacks=[setup.meter],
    )
    attach(made, setup)
    drop_second_adapter(made.model)
    made.fix_reference()
    return made
