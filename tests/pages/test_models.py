"""Models: the list, lineage, names, registering a base, and jobs that bring models."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import models
from pages.components import base_models
from pages.components.visible import HIDDEN
from studio.core import LOCAL_ADMIN, InvalidInput
from studio.jobs import JobSpec
from studio.registry import ModelKind, ModelVersion, NewWeights
from studio.studio import Studio
from tests.pages.conftest import visiting

ARRIVING, DETAIL, OPENED, CURRENT, LIST = range(5)


def adapter_of(studio: Studio, base: ModelVersion, folder: Path) -> ModelVersion:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    new = NewWeights("tiny-sft", ModelKind.ADAPTER, folder, base.id, base.id, "run_1", 1024)
    return studio.registry.register_weights(LOCAL_ADMIN, new)


def test_no_models_say_what_to_do(studio: Studio) -> None:
    view = models.view(studio, visiting(tab="models"))
    assert "No models yet" in view[LIST]
    assert view[DETAIL]["visible"] == HIDDEN


def test_lineage_leads_from_the_base_to_the_version(studio: Studio, base: ModelVersion, home: Path) -> None:
    made = adapter_of(studio, base, home / "runs" / "run_1" / "adapter")
    view = models.view(studio, visiting(tab="models", model=made.reference))
    assert view[DETAIL]["visible"] is True
    assert view[OPENED].index(base.reference) < view[OPENED].rindex(made.reference)
    assert "?tab=runs&amp;run=run_1" in view[OPENED]
    assert f"?tab=chat&amp;a={base.id}&amp;b={made.id}" in view[OPENED]
    assert 'aria-current="true"' in view[LIST]


def test_an_unknown_model_says_so(studio: Studio, base: ModelVersion) -> None:
    view = models.view(studio, visiting(tab="models", model="<gone>"))
    assert "td-bad" in view[OPENED]
    assert "<gone>" not in view[OPENED]


def test_a_name_can_be_given(studio: Studio, base: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "toast", lambda *_: None)
    assert models.name_it(studio, alias=" assistant:production ", version_id=base.id) == ""
    assert "assistant:production" in models.view(studio, visiting(tab="models"))[LIST]
    with pytest.raises(InvalidInput):
        models.name_it(studio, alias="", version_id=base.id)


def test_the_list_searches(studio: Studio, base: ModelVersion) -> None:
    assert base.reference in models.view(studio, visiting(tab="models", q="BASE tiny"))[LIST]
    assert "No model matches" in models.view(studio, visiting(tab="models", q="llama"))[LIST]


def register(studio: Studio, location: str) -> tuple[object, ...]:
    return base_models.register(studio, location=location, name="", licence="", revision="")


def test_registering_a_folder(studio: Studio, tiny_model: Path) -> None:
    answer = register(studio, str(tiny_model))
    [made] = studio.registry.list(LOCAL_ADMIN)
    assert made.id in str(answer[0])


@pytest.mark.parametrize("location", ["", "/nowhere/<b>at all</b>", "not-an-id"])
def test_what_cannot_be_registered_says_why(studio: Studio, location: str) -> None:
    answer = str(register(studio, location)[0])
    assert "td-bad" in answer
    assert "<b>" not in answer
    assert not studio.registry.list(LOCAL_ADMIN)


def test_a_model_on_its_way_is_shown(studio: Studio) -> None:
    spec = JobSpec("embedded_model", "studio.registry.embedded_job", "embedded", {})
    job = studio.jobs.submit(LOCAL_ADMIN, spec)
    assert "Unpacking the embedded model" in base_models.on_their_way(studio)
    studio.jobs.request_stop(LOCAL_ADMIN, job.id)
    assert base_models.on_their_way(studio) == ""


def test_the_form_opens_for_its_address(studio: Studio) -> None:
    *_, form = models.arrive(studio, visiting(tab="models", new="base"))
    assert form["open"] is True
