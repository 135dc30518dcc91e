"""The job that scores both answers of each item: ``python -m studio.annotation.suggestions_job DIR``.

It renders and scores with the evaluation room's code, so that a suggestion and the measured preference
accuracy of the same model cannot disagree about what a model thinks of an answer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from studio.annotation.model_jobs import Stopped, perform
from studio.annotation.suggestions import MARGINS, SuggestionsTask, margin_lines, read_lines
from studio.core import InvalidInput
from studio.core.files import write_text
from studio.evaluation import EvaluationKind
from studio.evaluation.scoring import Likelihood, Passage, batches, passages, usable
from studio.evaluation.worker import likelihoods, load
from studio.jobs.child import JobContext

_DEFAULT_CONTEXT = 2048


def run(context: JobContext) -> dict[str, Any]:
    """Score the items of the payload, leave the margins as a file, and return how many there are.

    Raises:
        InvalidInput: No item fits into the model's context.
        Stopped: Someone asked to stop.
    """
    task = SuggestionsTask.from_payload(context.payload)
    context.progress(f"Loading {task.model.reference}", 0, 0)
    items = read_lines(task.items)
    model = load(str(task.model.base), str(task.model.adapter or ""))
    tokenizer = _tokenizer(task.model.base)
    rows = [_passages(tokenizer, item) for item in items]
    fitting = sorted(usable(rows, _context(model)))
    if not fitting:
        raise InvalidInput(
            f"None of the {len(items)} items fits into the context of {task.model.reference}.",
            "Choose a model with a longer context.",
        )
    margins = _margins(context, model, [rows[place] for place in fitting])
    positions = [items[place]["position"] for place in fitting]
    write_text(context.directory / MARGINS, margin_lines(positions, margins))
    return {"items": len(items), "scored": len(fitting)}


def _margins(context: JobContext, model: Any, rows: list[tuple[Passage, ...]]) -> list[float]:
    """The summed log-likelihood of the first answer less that of the second, in nats, for each row."""
    flat = [passage for row in rows for passage in row]
    found: dict[int, Likelihood] = {}
    for batch in batches(flat):
        if context.stop_requested():
            raise Stopped
        context.progress("Scoring both answers", len(found), len(flat))
        found |= zip(batch, likelihoods(model, [flat[place] for place in batch]), strict=True)
    return [found[2 * place].total - found[2 * place + 1].total for place in range(len(rows))]


def _passages(tokenizer: Any, item: dict[str, Any]) -> tuple[Passage, ...]:
    pair = {"prompt": item["prompt"], "chosen": item["first"], "rejected": item["second"]}
    return passages(tokenizer, EvaluationKind.PREFERENCE_ACCURACY, pair)


def _tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True)


def _context(model: Any) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(positions or _DEFAULT_CONTEXT)


if __name__ == "__main__":
    sys.exit(perform(Path(sys.argv[1]), run))
