"""Recipes that cover what is translated for the other engines, and the golden settings that they become.

``python -m tests.unit.training.external_orders`` writes the golden files anew; look at the difference.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studio.training import Stage, parse_recipe
from studio.training.engines.external.order import Order
from studio.training.engines.external.worker import write_settings

GOLDEN = Path(__file__).resolve().parent / "golden"
_NAMED = "model: base\ndataset: rows\n"
_EVERYTHING = """
lora: {r: 8, alpha: 32, dropout: 0.05, targets: attention, dora: true, plus_ratio: 16}
learning_rate: 1e-4
epochs: 2
max_steps: 40
batch_size: 2
gradient_accumulation: 4
max_length: 1024
warmup_ratio: 0.05
scheduler: linear
weight_decay: 0.01
max_grad_norm: 0.5
seed: 7
dtype: bf16
attention: sdpa
recompute: true
log_every: 2
eval_every: 10
save_every: 10
keep_checkpoints: 3
keep_best: true
early_stop_patience: 3
"""
_FULL = "method: full\nlearning_rate: 2e-5\nscheduler: constant\ndtype: fp32\n"
_QLORA = "method: qlora\n"


def _order(engine: str, stage: Stage, recipe: str) -> Order:
    asked = parse_recipe(stage, f"{_NAMED}engine: {engine}\n{recipe}")
    run = Path("/home/runs/run_1")
    return Order(
        recipe=asked,
        base=Path("/models/base"),
        adapter=None,
        data=run / "engine" / "rows",
        output=run / "engine" / "output",
        evaluates=True,
        half=True,
    )


def orders() -> dict[str, Order]:
    """The orders by the names of their golden files."""
    lf, ax = "llamafactory", "axolotl"
    resumed = Path("/home/runs/run_1/checkpoints/step-000010")
    adapter = Path("/models/adapter")
    found = {
        "llamafactory-cpt": _order(lf, Stage.CPT, "attention: flash\n"),
        "llamafactory-sft": _order(lf, Stage.SFT, ""),
        "llamafactory-sft-everything": _order(
            lf, Stage.SFT, _EVERYTHING + "neftune_alpha: 5\npacking: true\n"
        ),
        "llamafactory-sft-full": _order(lf, Stage.SFT, _FULL + "assistant_only: false\n"),
        "llamafactory-sft-qlora": replace(_order(lf, Stage.SFT, _QLORA), gpu=True),
        "llamafactory-dpo": _order(lf, Stage.DPO, "loss: sigmoid\nlabel_smoothing: 0.1\nattention: eager\n"),
        "llamafactory-dpo-adapter": replace(_order(lf, Stage.DPO, "loss: ipo\n"), adapter=adapter),
        "llamafactory-kto": replace(_order(lf, Stage.KTO, "desirable_weight: 2\n"), evaluates=False),
        "axolotl-cpt": _order(ax, Stage.CPT, "packing: false\n"),
        "axolotl-sft": _order(ax, Stage.SFT, ""),
        "axolotl-sft-everything": replace(
            _order(ax, Stage.SFT, _EVERYTHING + "neftune_alpha: 5\n"), gpu=True, adapter=adapter
        ),
        "axolotl-sft-full": _order(ax, Stage.SFT, _FULL + "assistant_only: false\nattention: eager\n"),
        "axolotl-sft-qlora": replace(
            _order(ax, Stage.SFT, _QLORA + "attention: flash\npacking: true\n"), gpu=True
        ),
        "axolotl-dpo": _order(ax, Stage.DPO, "loss: robust\nlabel_smoothing: 0.1\n"),
        "axolotl-dpo-ipo": replace(_order(ax, Stage.DPO, "loss: ipo\n"), evaluates=False),
    }
    for engine in (lf, ax):
        going_on = replace(_order(engine, Stage.SFT, "eval_every: 5\n"), checkpoint=resumed, laps=3)
        found[f"{engine}-sft-resumed"] = going_on
    return found


def written(order: Order, folder: Path) -> dict[str, str]:
    """The files that an order becomes, by their names; ``folder`` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(order, folder / "settings.yaml", folder)
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def main() -> None:
    """Write the golden files anew."""
    import shutil

    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, order in orders().items():
        written(order, GOLDEN / name)


if __name__ == "__main__":
    main()
