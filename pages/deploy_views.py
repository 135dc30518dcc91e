"""What a deployment looks like: the list, one opened, its history, and the command that calls it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from pages.components.markup import address, button, chip, copyable, empty, link
from pages.components.record_list import Column, Entry, matches, record_list
from pages.components.wording import ago, count
from studio.arena import VariantScore
from studio.core import StudioError
from studio.serving import Deployment, DeploymentState
from studio.studio import Studio

_COLUMNS = (
    Column("Deployment", "", "td-main", bare=True),
    Column("State", "", bare=True),
    Column("Traffic", "", "td-full", bare=True),
    Column("Answers", "", "td-num"),
    Column("Changed", "", "td-num"),
)
_STATES = {DeploymentState.LIVE: ("live", "td-good"), DeploymentState.RETIRED: ("retired", "td-idle")}


def listing(studio: Studio, asked: Mapping[str, str]) -> Markup:
    """The deployments; where there is none, how to make one."""
    found = studio.serving.deployments(studio.actor)
    if not found:
        has_model = bool(studio.registry.list(studio.actor))
        return empty(
            "Nothing is deployed.",
            "A deployment is a name that programs call. One or more models behind it share its users.",
            button("Deploy a model", address("deploy", new="1"))
            if has_model
            else button("Register a base model", address("models", new="base")),
        )
    shown = [one for one in found if matches(asked.get("q", ""), one.name, one.state)]
    if not shown:
        return empty("No deployment matches.", "Search for a name or a state.")
    return record_list("Deployments", _COLUMNS, [_entry(studio, one, asked) for one in shown], asked)


def _entry(studio: Studio, deployment: Deployment, asked: Mapping[str, str]) -> Entry:
    answers = sum(studio.serving.variant_answers(studio.actor, deployment.name).values())
    cells = (
        link(deployment.name, address("deploy", deployment=deployment.name)),
        chip(*_STATES[deployment.state]),
        shares(deployment),
        f"{answers:,}",
        ago(deployment.changed_at),
    )
    return Entry(cells, deployment.name == asked.get("deployment"))


def shares(deployment: Deployment) -> Markup:
    """The variants with their part of the traffic."""
    total = sum(variant.weight for variant in deployment.variants)
    lines = (
        Markup(
            '<div><span>{}</span><span class="td-sub">{:.0%}</span>'
            '<div class="td-bar" style="--part: {:.4f}"></div></div>'
        ).format(variant.name, variant.weight / total, variant.weight / total)
        for variant in deployment.variants
    )
    return Markup('<div class="td-shares">{}</div>').format(Markup().join(lines))


def opened(studio: Studio, deployment: Deployment) -> Markup:
    """One deployment: its variants with what they received, and every state it had."""
    state = chip(*_STATES[deployment.state])
    revision = Markup('<p class="td-sub">Revision {}, {} by {}</p>').format(
        deployment.revision, ago(deployment.changed_at), deployment.changed_by
    )
    title = Markup('<div class="td-head"><div><h2 class="td-title">{} {}</h2>{}{}</div>{}</div>').format(
        deployment.name, state, copyable(deployment.id), revision, _actions(deployment)
    )
    return Markup('<section class="td-card td-stack">{}{}{}</section>').format(
        title, _variants(studio, deployment), _history(studio, deployment)
    )


def _actions(deployment: Deployment) -> Markup:
    made = Markup()
    if deployment.state is DeploymentState.LIVE and len(deployment.variants) > 1:
        made += button("Compare blind", address("chat", deployment=deployment.name, blind="1"), primary=False)
    made += button("Change it", address("deploy", deployment=deployment.name, change="1"), primary=False)
    made += Markup('<a class="td-plain" href="{}" data-go="replace">Close</a>').format(address("deploy"))
    return Markup('<div class="td-head-actions">{}</div>').format(made)


def _variants(studio: Studio, deployment: Deployment) -> Markup:
    answers = studio.serving.variant_answers(studio.actor, deployment.name)
    experiments = {one.deployment: one.variants for one in studio.arena.experiments(studio.actor)}
    scores = {score.variant: score for score in experiments.get(deployment.name, ())}
    total = sum(variant.weight for variant in deployment.variants)
    judged = bool(scores)
    columns = [
        Column("Variant", "", "td-main", bare=True),
        Column("Model", "", bare=True),
        Column("Share", "", "td-num"),
        Column("Answers", "", "td-num"),
    ]
    if judged:
        columns += [Column(name, "", "td-num") for name in ("Won", "Lost", "Tie", "Both bad", "Thumbs")]
    entries = []
    for variant in deployment.variants:
        given = scores[variant.name].answers if judged else answers.get(variant.name, 0)
        cells: list[object] = [
            _variant_name(variant.name, variant.system_prompt),
            _model(studio, variant.model_version_id),
            f"{variant.weight / total:.0%}",
            f"{given:,}",
        ]
        entries.append(Entry(cells + (_verdicts(scores[variant.name]) if judged else [])))
    return record_list("Variants", columns, entries, {})


def _variant_name(name: str, system_prompt: str) -> Markup:
    if not system_prompt:
        return Markup("{}").format(name)
    return Markup(
        '{}<details class="td-about"><summary class="td-sub">System prompt</summary>'
        '<div class="td-text">{}</div></details>'
    ).format(name, system_prompt)


def _model(studio: Studio, version_id: str) -> Markup:
    try:
        reference = studio.registry.version(studio.actor, version_id).reference
    except StudioError:
        return copyable(version_id)
    return link(reference, address("models", model=version_id))


def _verdicts(score: VariantScore) -> list[object]:
    thumbs = f"{score.thumbs_up:,} up, {score.thumbs_down:,} down"
    return [score.wins, score.losses, score.ties, score.both_bad, thumbs]


def _history(studio: Studio, deployment: Deployment) -> Markup:
    states = studio.serving.history(studio.actor, deployment.name)
    if len(states) < 2:
        return Markup()
    lines = Markup().join(
        Markup('<li><span>Revision {}: {}</span><span class="td-when">{} by {}</span></li>').format(
            one.revision, revision_words(one), ago(one.changed_at), one.changed_by
        )
        for one in states
    )
    return Markup('<details><summary>{}</summary><ul class="td-feed">{}</ul></details>').format(
        count(len(states), "revision"), lines
    )


def revision_words(deployment: Deployment) -> str:
    """A state in one line: ``live, main 90%, candidate 10%``."""
    return f"{deployment.state.value}, {share_words(deployment)}"


def share_words(deployment: Deployment) -> str:
    """The shares in one line: ``main 90%, candidate 10%``."""
    total = sum(variant.weight for variant in deployment.variants)
    parts = [f"{variant.name} {variant.weight / total:.0%}" for variant in deployment.variants]
    return ", ".join(parts)


_WITH_TOKEN = Markup(
    '<p class="td-sub">TANDEM_TOKEN is a token that may talk to models; make one under {}.</p>'
)


def command(
    deployment: str, base_url: str, text: str = "How do I import data?", *, token: bool = False
) -> Markup:
    """The exact curl command that asks a deployment, to be copied; ``token`` where people log in."""
    body = {"deployment": deployment, "user": "someone", "messages": [{"role": "user", "content": text}]}
    line = " \\\n  ".join(
        (
            f"curl -s {shlex.quote(base_url + '/predict')}",
            *(['-H "Authorization: Bearer $TANDEM_TOKEN"'] if token else []),
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}",
        )
    )
    return Markup(
        '<h3 class="td-title">Call it from a program</h3><pre class="td-command">{0}</pre>'
        '<button type="button" class="td-plain" data-copy="{0}">Copy the command</button>{1}'
    ).format(line, _WITH_TOKEN.format(link("Account", address("account"))) if token else "")


def variant_models(studio: Studio, deployment: Deployment) -> Sequence[str]:
    """The reference of each variant's model, as a picker wants it."""
    return [
        studio.registry.version(studio.actor, one.model_version_id).reference for one in deployment.variants
    ]
