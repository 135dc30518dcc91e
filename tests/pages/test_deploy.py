"""Deploy: the list, changing, going back, retiring, trying, and the command that is shown."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pages import deploy, deploy_try
from pages.deploy_form import MOST_VARIANTS
from pages.deploy_views import command, listing
from studio.core import LOCAL_ADMIN
from studio.registry import ModelVersion
from studio.serving import DeploymentState
from studio.studio import Studio
from tests.pages.conftest import visiting
from tests.pages.talking import adapter_of, with_backend


@pytest.fixture
def talking(studio: Studio) -> Studio:
    return with_backend(studio)[0]


def fields(*models: str, weight: float = 1.0) -> dict[str, object]:
    given: dict[str, object] = {}
    for place in range(MOST_VARIANTS):
        given |= {
            f"variant_{place}": f"v{place}",
            f"model_{place}": models[place] if place < len(models) else None,
            f"weight_{place}": weight,
            f"prompt_{place}": "",
        }
    return given


def test_nothing_deployed_says_what_to_do(talking: Studio) -> None:
    assert "Nothing is deployed" in listing(talking, {})
    assert "?tab=models" in listing(talking, {})


def test_a_deployment_is_made_listed_and_opened(talking: Studio, base: ModelVersion, home: Path) -> None:
    taught = adapter_of(talking, base, home / "adapter")
    said = deploy.deploy(talking, name="helper", number=2, **fields(base.reference, taught.reference))
    assert "helper is live" in said
    assert "v0 50%, v1 50%" in said
    shown = repr(deploy.view(talking, visiting(tab="deploy", deployment="helper"), applied=""))
    assert taught.reference in shown
    assert "/predict" in shown
    assert "Compare blind" in shown


def test_every_fault_is_named(talking: Studio, base: ModelVersion) -> None:
    said = deploy.deploy(talking, name="Not A Name", number=1, **fields(base.reference, weight=0))
    assert "cannot be deployed" in said
    assert "weight" in said
    assert "No model is called" in deploy.deploy(talking, name="helper", number=1, **fields("nobody@1"))


def test_going_back_and_retiring(talking: Studio, base: ModelVersion, home: Path) -> None:
    taught = adapter_of(talking, base, home / "adapter")
    deploy.deploy(talking, name="helper", number=1, **fields(base.reference))
    deploy.deploy(talking, name="helper", number=1, **fields(taught.reference))
    deploy.roll_back(talking, name="helper", revision=1)
    now = talking.serving.deployment(LOCAL_ADMIN, "helper")
    assert now.revision == 3
    assert now.variants[0].model_version_id == base.id
    deploy.retire(talking, name="helper")
    assert talking.serving.deployment(LOCAL_ADMIN, "helper").state is DeploymentState.RETIRED
    assert "retired" in listing(talking, {})


def test_the_form_is_filled_once_for_an_address(talking: Studio, base: ModelVersion) -> None:
    deploy.deploy(talking, name="helper", number=1, **fields(base.reference))
    asked = visiting(tab="deploy", deployment="helper", change="1")
    first = deploy.view(talking, asked, applied="")
    assert first[0]["visible"] is True
    assert first[1] == "helper"
    applied = first[3 + 4 * MOST_VARIANTS + MOST_VARIANTS]
    second = deploy.view(talking, asked, applied=applied)
    assert second[1] != "helper"


def test_an_unknown_deployment_is_said_to_be_unknown(talking: Studio) -> None:
    assert "no deployment called" in repr(deploy.view(talking, visiting(deployment="nobody"), applied=""))


def test_trying_shows_the_variant_and_takes_a_thumb(talking: Studio, base: ModelVersion) -> None:
    deploy.deploy(talking, name="helper", number=1, **fields(base.reference))
    *_, last = deploy_try.ask(talking, deployment="helper", user="ana", text="Hi")
    about, answer, tried = last[:3]
    assert "v0" in about
    assert answer == "An answer in some words."
    up = deploy_try.put_thumb(talking, tried=tried, up=True)
    assert up[0].up is True
    assert len(talking.arena.opinions(LOCAL_ADMIN)) == 1
    *_, failed = deploy_try.ask(talking, deployment="helper", user="ana", text=" ")
    assert "empty" in failed[0]


def test_the_command_is_one_that_a_shell_understands() -> None:
    shown = command("helper", "http://127.0.0.1:7860", text='What\'s "this"?')
    line = shown.split("<pre")[1].split(">", 1)[1].split("</pre>")[0]
    words = shlex.split(shown.__class__(line).unescape().replace("\\\n", ""))
    assert words[2] == "http://127.0.0.1:7860/predict"
    assert json.loads(words[-1])["messages"][0]["content"] == 'What\'s "this"?'


def test_the_command_names_a_token_where_people_log_in() -> None:
    assert "Authorization" not in command("helper", "http://127.0.0.1:7860")
    assert "Bearer $TANDEM_TOKEN" in command("helper", "http://127.0.0.1:7860", token=True)
