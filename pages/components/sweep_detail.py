"""An open sweep: its name and state, how far it is, what can be done, and its trials as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from pages.components.acts import ask, do, question, row
from pages.components.markup import address, facts, link, note, progress_bar, tag
from pages.components.record_list import Column, Entry, record_list
from pages.components.sweep_words import (
    field_words,
    objective_words,
    sweep_chip,
    trial_chip,
    value_words,
)
from pages.components.wording import ago, count
from studio.jobs import Progress
from studio.training.sweeps import Pruning, Sweep, SweepState, Trial, TrialState, best_of

#: The part of the address that says how the trials are sorted.
ORDER = "trials"
_METHODS = {
    "tpe": "where the trials so far promise most (TPE)",
    "random": "at random",
    "grid": "every combination",
}


def sweep_head(sweep: Sweep, trials: Sequence[Trial]) -> Markup:
    """Everything above the charts."""
    close = Markup('<span class="td-sub">{}</span>').format(link("Show the whole list", address("sweeps")))
    title = Markup('<div class="td-job-head"><h2 class="td-run-name">{} {} {}</h2>{}</div>').format(
        sweep.name, tag(sweep.stage.value.upper()), sweep_chip(sweep.state), close
    )
    best = best_of(sweep, trials)
    parts = (title, _standing(sweep, trials), _best(sweep, best), _buttons(sweep, best))
    return Markup('<div class="td-run-head">{}</div>').format(Markup().join(parts))


def trial_table(sweep: Sweep, trials: Sequence[Trial], asked: Mapping[str, str]) -> Markup:
    """The trials, sorted as the address asks; the best one is marked."""
    if not trials:
        return Markup('<p class="td-sub">No trial has begun yet.</p>')
    paths = list(trials[0].params)
    columns = (
        Column("Trial", "number", "td-main", bare=True),
        Column("State", "state", bare=True),
        Column(objective_words(sweep).capitalize(), "value", "td-num"),
        *(Column(_heading(path), path, "td-num") for path in paths),
        Column("Why", "", "td-full", bare=True),
    )
    best = best_of(sweep, trials)
    ordered = sorted(trials, key=lambda one: one.number)
    wanted = asked.get(ORDER, "")
    key = _keys(sweep, paths).get(wanted.lstrip("-"))
    if key is not None:
        ordered.sort(key=key, reverse=wanted.startswith("-"))
    rows = [_row(one, paths, best is not None and one.number == best.number) for one in ordered]
    return record_list("Trials", columns, rows, asked, parameter=ORDER)


def sweep_facts(sweep: Sweep, datasets: Sequence[str], model: str) -> Markup:
    """What was asked for, in words."""
    pruning, objective = sweep.plan.pruning, sweep.plan.objective
    return facts(
        {
            "Model": model,
            "Data": ", ".join(datasets),
            "Makes": f"{sweep.output}, by its best trial",
            "Trials are chosen": _METHODS[sweep.plan.method.value],
            "Judged by": f"{objective_words(sweep)}, {'lowest' if objective.lowest else 'highest'}",
            "Ended early": _pruning_words(pruning),
            "At once": count(sweep.plan.at_once, "run"),
            "Seed": sweep.plan.seed,
            "Started": f"{ago(sweep.created_at)} by {sweep.created_by}",
        }
    )


def _heading(path: str) -> str:
    words = field_words(path)
    return words[0].upper() + words[1:]


def _pruning_words(pruning: Pruning) -> str:
    if pruning.rule == "off":
        return "never"
    what = "the median" if pruning.rule == "median" else f"the best {pruning.percentile:g}%"
    return f"worse than {what} of the trials before, once there are {pruning.after_trials}"


def _standing(sweep: Sweep, trials: Sequence[Trial]) -> Markup:
    ended = sum(trial.state.final for trial in trials)
    if sweep.state is SweepState.RUNNING:
        going = count(len(trials) - ended, "trial")
        return progress_bar(Progress(f"{going} under way", ended, sweep.plan.trials, None))
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    early = f", {pruned} of them ended early" if pruned else ""
    said = f"{count(ended, 'trial')} made{early}. {sweep.reason}".strip()
    return note(said, "td-bad" if sweep.state is SweepState.FAILED else "")


def _best(sweep: Sweep, best: Trial | None) -> Markup:
    if best is None or best.value is None:
        return Markup()
    values = ", ".join(f"{field_words(path)} {value_words(value)}" for path, value in best.params.items())
    return Markup('<p>Best so far: {}, {} <strong class="td-num">{}</strong>, with {}.</p>').format(
        link(f"trial {best.number + 1}", address("runs", run=best.run_id)),
        objective_words(sweep),
        value_words(best.value),
        values,
    )


def _buttons(sweep: Sweep, best: Trial | None) -> Markup:
    shown: list[Markup] = []
    asked: list[Markup] = []
    if best is not None:
        shown.append(ask("Train the best", "best", kind="td-primary"))
        asked.append(_train_best(sweep))
    if sweep.state is SweepState.RUNNING:
        shown.append(ask("Stop", "stop"))
        asked.append(
            question(
                "stop",
                "No more trials are started, and those under way save a checkpoint and end. You can resume "
                "the sweep later, and they go on from there.",
                do("Stop this sweep", "stop", kind="td-danger", sweep=sweep.id),
                leave="Keep it running",
            )
        )
    if sweep.state is SweepState.STOPPED:
        shown.append(do("Resume", "resume", kind="" if best else "td-primary", sweep=sweep.id))
    return Markup("{}{}").format(row(*shown), Markup().join(asked))


def _train_best(sweep: Sweep) -> Markup:
    epochs = Markup(
        '<label class="td-act-field">Epochs (empty: as the trials did)'
        '<input class="td-search" name="epochs" inputmode="decimal" maxlength="8"></label>'
    )
    words = Markup("<span>A run with the values of the best trial, which makes {}.</span>{}").format(
        sweep.output, epochs
    )
    start = do("Start this run", "train_best", kind="td-primary", sweep=sweep.id)
    return question("best", words, start, leave="Not now")


def _keys(sweep: Sweep, paths: Sequence[str]) -> dict[str, Callable[[Trial], tuple[bool, float | str]]]:
    worst = float("inf") if sweep.plan.objective.lowest else float("-inf")
    keys: dict[str, Callable[[Trial], tuple[bool, float | str]]] = {
        "number": lambda one: (False, one.number),
        "state": lambda one: (True, one.state.value),
        "value": lambda one: (False, worst if one.value is None else one.value),
    }
    return keys | {path: _by(path) for path in paths}


def _by(path: str) -> Callable[[Trial], tuple[bool, float | str]]:
    def key(trial: Trial) -> tuple[bool, float | str]:
        value = trial.params.get(path, "")
        return isinstance(value, str), value

    return key


def _row(trial: Trial, paths: Sequence[str], best: bool) -> Entry:
    name = f"Trial {trial.number + 1}"
    shown = link(name, address("runs", run=trial.run_id)) if trial.run_id else Markup("{}").format(name)
    crown = Markup(" {}").format(tag("best")) if best else Markup()
    cells = (
        Markup("{}{}").format(shown, crown),
        trial_chip(trial.state),
        "–" if trial.value is None else value_words(trial.value),
        *(value_words(trial.params.get(path, "–")) for path in paths),
        Markup('<span class="td-sub">{}</span>').format(trial.reason) if trial.reason else Markup(),
    )
    return Entry(cells, best)
