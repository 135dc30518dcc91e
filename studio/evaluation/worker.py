"""The job that scores models on the rows of a dataset.

Run as ``python -m studio.evaluation.worker <job directory>``. Each model is loaded once, in bfloat16,
an adapter unmerged on its base as it is served; log-probabilities are computed in float32, and only
where an answer's token is predicted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.core import InvalidInput
from studio.datasets.parquet_files import read_rows
from studio.evaluation.records import EvaluationKind
from studio.evaluation.scoring import Likelihood, Passage, Summary, batches, passages, summarise, usable
from studio.jobs.child import STOPPED_EXIT, JobContext
from studio.registry.folders import read_object

# Rows of logits that are turned into float32 at once: 256 x 50,000 x 4 bytes are 50 MB.
_ROWS_IN_FLOAT = 256

Rows = list[tuple[Passage, ...]]


class Stopped(Exception):  # not an error: someone asked for it
    """Someone asked the job to stop."""


@dataclass(frozen=True)
class Prepared:
    """The rows that every model can hold, as each base's tokens, and how many were left out."""

    by_base: dict[str, Rows]
    rows: int
    skipped: int


def prepare(kind: EvaluationKind, path: Path, bases: Sequence[str], max_length: int) -> Prepared:
    """Read the rows and tokenise them once for each base.

    Raises:
        InvalidInput: No row fits.
    """
    rows = list(read_rows(path))
    tokenised = {base: _tokenise(kind, base, rows) for base in bases}
    fitting = [usable(found, _limit(base, max_length)) for base, found in tokenised.items()]
    kept = sorted(frozenset.intersection(*fitting))
    if not kept:
        raise InvalidInput(
            f"None of the {len(rows)} rows fits into {max_length} tokens and has an answer.",
            "Evaluate with a larger maximum length.",
        )
    by_base = {base: [found[place] for place in kept] for base, found in tokenised.items()}
    return Prepared(by_base, len(kept), len(rows) - len(kept))


def score(model: Any, kind: EvaluationKind, rows: Rows, tick: Callable[[int, int], None]) -> Summary:
    """Score one loaded model on tokenised rows; ``tick`` hears how many passages of how many are done."""
    flat = [passage for row in rows for passage in row]
    found: dict[int, Likelihood] = {}
    for batch in batches(flat):
        tick(len(found), len(flat))
        found |= zip(batch, likelihoods(model, [flat[place] for place in batch]), strict=True)
    each = iter(range(len(flat)))
    return summarise(kind, [tuple(found[next(each)] for _ in row) for row in rows])


def likelihoods(model: Any, batch: Sequence[Passage]) -> list[Likelihood]:
    """The log-probabilities of the answer tokens of each passage, from one forward pass."""
    import torch

    length = max(len(passage.ids) for passage in batch)
    ids = torch.tensor([passage.ids + (0,) * (length - len(passage.ids)) for passage in batch])
    mask = torch.tensor([[1] * len(p.ids) + [0] * (length - len(p.ids)) for p in batch])
    scored = torch.tensor([p.scored + (False,) * (length - len(p.ids)) for p in batch])
    # Position i predicts token i + 1; the head runs only where a row of the batch needs it.
    targets = scored[:, 1:]
    places = targets.any(dim=0).nonzero().squeeze(1)
    with torch.inference_mode():
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            logits_to_keep=places.to(model.device),
            use_cache=False,
        ).logits
    wanted = targets[:, places]
    losses = _losses(logits[wanted.to(model.device)], ids[:, 1:][:, places][wanted].to(model.device))
    parts = losses.split([int(count) for count in wanted.sum(dim=1)])
    return [Likelihood(-float(part.double().sum()), len(part)) for part in parts]


def load(base: str, adapter: str) -> Any:
    """A model in bfloat16, ready to score; on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True
    )
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _losses(logits: Any, tokens: Any) -> Any:
    import torch

    pairs = zip(logits.split(_ROWS_IN_FLOAT), tokens.split(_ROWS_IN_FLOAT), strict=True)
    return torch.cat([torch.nn.functional.cross_entropy(x.float(), y, reduction="none") for x, y in pairs])


def _tokenise(kind: EvaluationKind, base: str, rows: list[dict[str, Any]]) -> Rows:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    return [passages(tokenizer, kind, row) for row in rows]


def _limit(base: str, max_length: int) -> int:
    positions = read_object(Path(base) / "config.json").get("max_position_embeddings")
    return min(max_length, positions) if isinstance(positions, int) else max_length


def run(context: JobContext) -> dict[str, Any]:
    """Score every model of the payload and return the result.

    Raises:
        InvalidInput: No row fits.
        Stopped: Someone asked to stop.
    """
    payload = context.payload
    kind = EvaluationKind(payload["kind"])
    models = payload["models"]
    context.progress("Reading the rows", 0, 0)
    bases = tuple(dict.fromkeys(model["base"] for model in models))
    prepared = prepare(kind, Path(payload["rows"]), bases, payload["max_length"])
    scores = [_scored(context, kind, prepared, place) for place in range(len(models))]
    kept = {key: payload[key] for key in ("kind", "dataset_id", "dataset", "split", "max_length")}
    return {**kept, "n": prepared.rows, "skipped": prepared.skipped, "scores": scores}


def _scored(context: JobContext, kind: EvaluationKind, prepared: Prepared, place: int) -> dict[str, Any]:
    models = context.payload["models"]
    model = models[place]
    which = f"{model['reference']} ({place + 1} of {len(models)})"
    context.progress(f"Loading {which}", place, len(models))

    def tick(done: int, total: int) -> None:
        if context.stop_requested():
            raise Stopped
        context.progress(f"Scoring {which}", place + done / total, len(models))

    summary = score(load(model["base"], model["adapter"]), kind, prepared.by_base[model["base"]], tick)
    return {"model_id": model["id"], "reference": model["reference"], **asdict(summary)}


def main(directory: Path) -> int:
    """Do the job in ``directory`` and return its exit code."""
    context = JobContext(directory)
    try:
        context.result(run(context))
    except Stopped:
        return STOPPED_EXIT
    except Exception as error:
        context.fail(error)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
