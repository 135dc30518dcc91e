"""A run in words: what it is doing, what it was asked to do, and what it made."""

from __future__ import annotations

from markupsafe import Markup

from pages.components.marks import marks_note
from pages.components.markup import address, copyable, facts, link, note, progress_bar, state_chip, tag
from pages.components.wording import ago, count, duration, parameters, significant, size, stamp
from studio.core import StudioError
from studio.jobs import JobState
from studio.studio import Studio
from studio.training import Recipe, Run, Stage, parse_recipe

_TEACHES = {
    Stage.CPT: "reads text and learns what comes next",
    Stage.SFT: "learns to answer",
    Stage.DPO: "learns which of two answers people prefer",
}
_STAGES = {
    Stage.CPT: "continued pre-training",
    Stage.SFT: "supervised fine-tuning",
    Stage.DPO: "preference optimisation",
}


def headline(run: Run) -> Markup:
    """Name, state, progress, and the reason where the run did not succeed."""
    head = Markup('<div class="td-job-head"><h2 class="td-run-name">{} {} {}</h2>{}</div>').format(
        run.name, tag(run.stage.value.upper()), state_chip(run.state), _close()
    )
    if not run.state.final:
        return Markup("{}{}").format(head, progress_bar(run.progress))
    if run.state is JobState.SUCCEEDED:
        return head
    kind = "" if run.state is JobState.STOPPED else "td-bad"
    return Markup("{}{}").format(head, note(run.reason or _without_reason(run.state), kind))


def _close() -> Markup:
    return Markup('<span class="td-sub">{}</span>').format(link("Show the whole list", address("runs")))


def _without_reason(state: JobState) -> str:
    if state is JobState.STOPPED:
        return "The run was stopped on request and can be resumed."
    return "The run ended without saying why. Its log below has the last words."


def told(run: Run) -> Markup:
    """The recipe as readable sentences."""
    try:
        lines = sentences(run.stage, parse_recipe(run.stage, run.recipe))
    except StudioError:
        # A recipe of an older version of the studio; its YAML is still there to read.
        return Markup()
    items = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup('<h2 class="td-title">Recipe</h2><ul class="td-sentences">{}</ul>').format(items)


def sentences(stage: Stage, recipe: Recipe) -> tuple[str, ...]:
    """What a recipe says, one sentence a thought."""
    return (
        f"In {_STAGES[stage]}, {recipe.model} {_TEACHES[stage]} from {recipe.dataset}.",
        _what_learns(recipe),
        _how_long(recipe),
        _how_fast(recipe),
        _how_kept(recipe),
        *_preference(recipe),
    )


def _what_learns(recipe: Recipe) -> str:
    if recipe.method == "full":
        return "Every weight of the model is trained."
    layers = "every linear layer" if recipe.lora.targets == "all-linear" else "the attention layers"
    return f"A LoRA adapter of rank {recipe.lora.r} (alpha {recipe.lora.alpha}) on {layers} is trained."


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
    return (f"Beta {beta:g} holds it to its frozen reference; the loss is {getattr(recipe, 'loss', '')}.",)


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
            "Peak memory": size(run.peak_memory_bytes) if run.peak_memory_bytes else "",
            "Attempts": str(run.attempts) if run.attempts > 1 else "",
            "Id": copyable(run.id),
        }
    )


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
