"""KTO (Ethayarajh et al. 2024, arXiv 2402.01306) over single answers that were found good or bad.

How far the model has moved from its reference is judged by answers that do not belong to their prompts:
within each batch every prompt gets its neighbour's answer. The reference's log-probabilities of these
mismatched answers are fixed beforehand, so the batches are too: the rows are shuffled once, by the
recipe's seed, and each epoch goes through them in that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from studio.training.engines.arguments import common_arguments
from studio.training.engines.reference import answer_log_probs, drop_second_adapter, scored
from studio.training.engines.rows import TokenRow
from studio.training.engines.saving import Saving, attach
from studio.training.engines.setup import Setup, Trainer
from studio.training.recipes import KtoRecipe

#: Names of TRL's columns.
_REFERENCE = ("ref_logps", "ref_KL_logps")
_MISMATCHED = "KL_completion_ids"


class _Kto(Saving, KTOTrainer):  # type: ignore[misc]
    train_dataset: Any
    eval_dataset: Any

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # The rows lie in their order already, those of a mixture too.
        return KTOTrainer._get_train_sampler(self, train_dataset)

    def fix_reference(self) -> None:
        """Store the log-probabilities of the model as it stands with every row."""
        self.train_dataset = self._with_reference(self.train_dataset)
        if self.eval_dataset is not None:
            self.eval_dataset = self._with_reference(self.eval_dataset)
        self.precompute_ref_logps = True

    def _with_reference(self, dataset: Any) -> Any:
        size = self.args.per_device_eval_batch_size
        columns = scored(self.setup, dataset.to_list(), size, len(_REFERENCE), self._score)
        for name, values in zip(_REFERENCE, columns, strict=True):
            dataset = dataset.add_column(name, values)
        return dataset

    def _score(self, rows: list[Any]) -> list[list[float]]:
        """The log-probabilities of each prompt's own answer and of the mismatched one."""
        batch = self._prepare_inputs(self.data_collator(rows))
        return [
            answer_log_probs(
                self,
                batch[f"{kind}input_ids"],
                batch[f"{kind}attention_mask"],
                batch[f"{kind}completion_mask"],
            ).tolist()
            for kind in ("", "KL_")
        ]


def trainer(setup: Setup) -> Trainer:
    """The trainer of a KTO task; scores the reference before it returns.

    Raises:
        Stopped: Someone asked to stop meanwhile.
    """
    recipe = setup.task.recipe
    assert isinstance(recipe, KtoRecipe)
    common = common_arguments(setup.task, setup.loaded, evaluate=setup.fresh and bool(setup.validation))
    arguments = KTOConfig(
        beta=recipe.beta,
        desirable_weight=recipe.desirable_weight,
        undesirable_weight=recipe.undesirable_weight,
        train_sampling_strategy="sequential",
        **common,
    )
    made = _Kto(
        model=setup.loaded.model,
        args=arguments,
        train_dataset=Dataset.from_list(mismatched(_ordered(setup), recipe.batch_size)),
        eval_dataset=_validation(setup, arguments.per_device_eval_batch_size),
        processing_class=setup.loaded.tokenizer,
        callbacks=[setup.meter],
    )
    attach(made, setup)
    drop_second_adapter(made.model)
    made.fix_reference()
    return made


def mismatched(rows: list[TokenRow], size: int) -> list[TokenRow]:
    """``rows`` with the answer of the row before in its batch of ``size`` (the first has the last's)."""
    made = []
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        answers = [row["completion_ids"] for row in batch]
        pairs = zip(batch, [answers[-1], *answers[:-1]], strict=True)
        made += [{**row, _MISMATCHED: answer} for row, answer in pairs]
    return made


def _ordered(setup: Setup) -> list[TokenRow]:
    if setup.mixture is not None:
        order = setup.mixture.order(0)
    else:
        order = np.random.default_rng(setup.task.recipe.seed).permutation(len(setup.train)).tolist()
    return [setup.train[place] for place in order]


def _validation(setup: Setup, size: int) -> Any:
    return Dataset.from_list(mismatched(setup.validation, size)) if setup.validation else None
