"""A run in words: what it is doing, what it was asked to do, and what it made."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup

from pages.components.marks import marks_note
from pages.components.markup import address, copyable, facts, link
from pages.components.wording import ago, count, duration, parameters, significant, size, stamp
from studio.core import StudioError
from studio.studio import Studio
from studio.training import Recipe, Run, Stage, parse_recipe

#: Closer than this, predicted and measured are called the same.
_SAME = 0.005
_TEACHES = {
    Stage.CPT: "reads text and learns what comes next",
    Stage.SFT: "learns to answer",
    Stage.DPO: "learns which of two answers people prefer",
    Stage.KTO: "learns what people call good and bad",
    Stage.REWARD: "learns to score answers as people would",
}
_STAGES = {
    Stage.CPT: "continued pre-training",
    Stage.SFT: "supervised fine-tuning",
    Stage.DPO: "preference optimisation",
    Stage.KTO: "optimisation on single verdicts",
    Stage.REWARD: "reward modelling",
}


def told(run: Run) -> Markup:
    """The recipe as readable sentences."""
    return _told(run.stage, run.recipe)


# A page looks every two seconds, and reading YAML is slow.
@lru_cache(maxsize=256)
def _told(stage: Stage, recipe: str) -> Markup:
    try:
        lines = sentences(stage, parse_recipe(stage, recipe))
    except StudioError:
        # A recipe of an older version of the studio; its YAML is still there to read.
        return Markup()
    items = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup('<h2 class="td-title">Recipe</h2><ul class="td-sentences">{}</ul>').format(items)


def sentences(stage: Stage, recipe: Recipe) -> tuple[str, ...]:
    """What a recipe says, one sentence a thought."""
    return (
        f"In {_STAGES[stage]}, {recipe.model} {_TEACHES[stage]} from {_data(recipe)}.",
        _what_learns(recipe),
        _how_long(recipe),
        _how_fast(recipe),
        _how_kept(recipe),
        *_preference(recipe),
        *_early_end(recipe),
    )


def _data(recipe: Recipe) -> str:
    if not recipe.mix:
        return recipe.dataset
    whole = recipe.weight + sum(source.weight for source in recipe.mix)
    parts = [(recipe.dataset, recipe.weight), *((source.dataset, source.weight) for source in recipe.mix)]
    return ", ".join(f"{name} ({weight / whole:.0%} of the rows)" for name, weight in parts)


def _what_learns(recipe: Recipe) -> str:
    if recipe.method == "full":
        return "Every weight of the model is trained."
    layers = "every linear layer" if recipe.lora.targets == "all-linear" else "the attention layers"
    kind = "DoRA" if recipe.lora.dora else "LoRA"
    base = ", over weights packed to 4 bits," if recipe.method == "qlora" else ""
    rank = f"rank {recipe.lora.r} (alpha {recipe.lora.alpha})"
    return f"A {kind} adapter of {rank} on {layers}{base} is trained."


def _how_long(recipe: Recipe) -> str:
    rows = recipe.batch_size * recipe.gradient_accumulation
    span = f"{recipe.epochs:g} {'pass' if recipe.epochs == 1 else 'passes'} over the training rows"
    if recipe.max_steps > 0:
        span = f"{recipe.max_steps:,} steps"
    return f"It makes {span}, {count(rows, 'row')} a step, each at most {recipe.max_length:,} tokens long."


def _how_fast(recipe: Recipe) -> str:
    shape = "stays there" if recipe.scheduler == "constant" else f"falls along a {recipe.scheduler} curve"
    rise = f" after a warm-up of {recipe.warmup_ratio:.0%}" if recipe.scheduler != "constant" else ""
    return f"The learning rate is {recipe.learning_rate:g} at its highest{rise} and {shape}."


def _how_kept(recipe: Recipe) -> str:
    when = f"every {recipe.eval_every} steps" if recipe.eval_every else "at start and end"
    return (
        f"It is evaluated {when}, saved every {recipe.save_every} steps (the newest "
        f"{recipe.keep_checkpoints} stay), and its seed is {recipe.seed}."
    )


def _preference(recipe: Recipe) -> tuple[str, ...]:
    beta = getattr(recipe, "beta", None)
    if beta is None:
        return ()
    loss = getattr(recipe, "loss", "")
    said = f"; the loss is {loss}" if loss else ""
    return (f"Beta {beta:g} holds it to its frozen reference{said}.",)


def _early_end(recipe: Recipe) -> tuple[str, ...]:
    if not recipe.early_stop_patience:
        return ()
    looks = count(recipe.early_stop_patience, "evaluation")
    return (f"It ends early where {looks} in a row bring nothing better.",)


def run_facts(studio: Studio, run: Run) -> Markup:
    """Where it came from, what it made, and what it took."""
    took = (run.ended_at or run.created_at) - run.created_at
    return marks_note(run.marks) + facts(
        {
            "Made": _made(studio, run),
            "From": _version(studio, run.model_version_id),
            "Data": Markup(", ").join(_dataset(studio, key) for key in run.dataset_version_ids),
            "Held-out": _held_out(run),
            "Started": f"{stamp(run.created_at)} ({ago(run.created_at)})",
            "Took": duration(took) if run.ended_at else "",
            "Memory": memory(run),
            "Tries again": _run_link(studio, run.retry_of) if run.retry_of else "",
            "Trial of": link("a sweep", address("sweeps", sweep=run.sweep_id)) if run.sweep_id else "",
            "After": Markup(", ").join(_run_link(studio, key) for key in run.after),
            "Attempts": str(run.attempts) if run.attempts > 1 else "",
            "Id": copyable(run.id),
        }
    )


def memory(run: Run) -> str:
    """What was predicted against what was measured, as far as either is known."""
    predicted, measured = run.predicted_memory_bytes, run.peak_memory_bytes
    if not predicted:
        return f"{size(measured)} at its peak" if measured else ""
    if not measured:
        return f"{size(predicted)} predicted"
    off = measured / predicted - 1
    way = "more" if off > 0 else "less"
    how = "as predicted" if abs(off) < _SAME else f"{abs(off):.0%} {way} than predicted"
    return f"{size(measured)} at its peak, {size(predicted)} predicted ({how})"


def command_panel(command: str) -> Markup:
    """What reproduces the run, with a button that copies it."""
    return Markup(
        '<div class="td-reproduce"><div class="td-job-head">'
        '<p class="td-sub">Its whole recipe with exact versions, and how to start it.</p>'
        '<button type="button" class="td-button td-small td-copy" data-copy="{0}">Copy</button></div>'
        '<pre class="td-log" tabindex="0">{0}</pre></div>'
    ).format(command)


def _run_link(studio: Studio, run_id: str) -> Markup:
    try:
        name = studio.training.get(studio.actor, run_id).name
    except StudioError:
        return Markup("{}").format(run_id)
    return link(name, address("runs", run=run_id))


def _made(studio: Studio, run: Run) -> object:
    if run.output_version_id is None:
        return ""
    version = studio.registry.version(studio.actor, run.output_version_id)
    made = link(version.reference, address("models", model=version.id))
    compare = link("compare it with what it came from", _comparison(run))
    return Markup("{} ({} parameters), {}").format(made, parameters(version.parameters), compare)


def _comparison(run: Run) -> str:
    return address("chat", a=run.model_version_id, b=run.output_version_id or "", blind="1")


def _version(studio: Studio, identity: str) -> object:
    try:
        version = studio.registry.version(studio.actor, identity)
    except StudioError:
        return identity
    return link(version.reference, address("models", model=version.id))


def _dataset(studio: Studio, identity: str) -> Markup:
    try:
        version = studio.datasets.version(studio.actor, identity)
    except StudioError:
        return Markup("{}").format(identity)
    return link(version.reference, address("data", version=version.id))


def _held_out(run: Run) -> str:
    """How the held-out measure moved from the first evaluation to the last."""
    name, unit = ("eval/rewards_accuracy", "accuracy") if run.stage is Stage.DPO else ("eval/loss", "loss")
    last, first = run.summary.get(name), run.summary.get(f"{name}/first")
    if last is None:
        return ""
    if first is None or first == last:
        return f"{unit} {significant(last)}"
    return f"{unit} {significant(first)} at the first evaluation, {significant(last)} at the last"
