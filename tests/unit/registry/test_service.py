from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Conflict,
    Database,
    Forbidden,
    InvalidInput,
    Lineage,
    Node,
    NotFound,
    Role,
)
from studio.jobs import JobService
from studio.registry import BaseSource, ModelKind, ModelTask, ModelVersion, NewWeights, RegistryService
from tests.unit.registry.folders import adapter_folder, base_folder

STAKEHOLDER = Actor("sam", Role.STAKEHOLDER)


@pytest.fixture
def base(registry: RegistryService, tmp_path: Path) -> ModelVersion:
    source = BaseSource(str(base_folder(tmp_path / "base")), "base", licence="MIT")
    return registry.register_base(LOCAL_ADMIN, source)


def _adapter(tmp_path: Path, base: ModelVersion, run: str, parent: str = "") -> NewWeights:
    path = adapter_folder(tmp_path / run, fill=len(run))
    return NewWeights("assistant", ModelKind.ADAPTER, path, base.id, parent or base.id, run, 4)


def test_a_folder_becomes_a_base_that_stays_where_it_is(base: ModelVersion, tmp_path: Path) -> None:
    assert (base.reference, base.kind, base.base_id) == ("base@1", ModelKind.BASE, base.id)
    assert (base.parameters, base.licence, base.path) == (11, "MIT", tmp_path / "base")
    assert base.origin == f"Folder {tmp_path / 'base'}"
    assert base.created_by == "local"


def test_the_same_content_under_one_name_is_one_version(
    registry: RegistryService, base: ModelVersion, tmp_path: Path
) -> None:
    again = registry.register_base(LOCAL_ADMIN, BaseSource(str(tmp_path / "base"), "base"))
    other = registry.register_base(LOCAL_ADMIN, BaseSource(str(base_folder(tmp_path / "b2", 1)), "base"))
    assert again == base
    assert other.reference == "base@2"
    assert [version.id for version in registry.list(LOCAL_ADMIN)] == [other.id, base.id]


def test_a_reference_is_an_id_a_number_a_name_or_an_alias(
    registry: RegistryService, base: ModelVersion, tmp_path: Path
) -> None:
    newer = registry.register_base(LOCAL_ADMIN, BaseSource(str(base_folder(tmp_path / "b2", 1)), "base"))
    registry.alias(LOCAL_ADMIN, "assistant:production", "base@1")
    found = {
        reference: registry.version(STAKEHOLDER, reference).id
        for reference in (base.id, "base@1", "base@2", "base", "assistant:production")
    }
    assert list(found.values()) == [base.id, base.id, newer.id, newer.id, base.id]


@pytest.mark.parametrize("reference", ["", "nobody", "base@", "base@3", "base@-1", "@1", "base@" + "9" * 30])
def test_a_reference_to_nothing_says_so(
    registry: RegistryService, base: ModelVersion, reference: str
) -> None:
    with pytest.raises(NotFound, match="No model is called"):
        registry.version(LOCAL_ADMIN, reference)


def test_an_alias_moves_and_the_move_is_in_the_audit(
    registry: RegistryService, audit: Audit, base: ModelVersion, tmp_path: Path
) -> None:
    registry.register_base(LOCAL_ADMIN, BaseSource(str(base_folder(tmp_path / "b2", 1)), "base"))
    registry.alias(LOCAL_ADMIN, "live", "base@1")
    moved = registry.alias(LOCAL_ADMIN, "live", "base@2")
    assert registry.aliases(STAKEHOLDER) == (moved,)
    assert registry.version(STAKEHOLDER, "live").reference == "base@2"
    moves = [entry for entry in audit.recent(LOCAL_ADMIN) if entry.target == Node("alias", "live")]
    assert [entry.detail for entry in moves] == ["to base@2 (was base@1)", "to base@1"]


def test_names_and_aliases_do_not_hide_each_other(
    registry: RegistryService, base: ModelVersion, tmp_path: Path
) -> None:
    registry.alias(LOCAL_ADMIN, "live", "base")
    with pytest.raises(Conflict, match="A model is called 'base'"):
        registry.alias(LOCAL_ADMIN, "base", "base@1")
    with pytest.raises(Conflict, match="'live' is an alias"):
        registry.register_base(LOCAL_ADMIN, BaseSource(str(tmp_path / "base"), "live"))


@pytest.mark.parametrize("name", ["a b", "a@1", "../up", "-x", "x" * 81, "a:b", "a\n"])
def test_a_name_that_would_not_fit_a_reference_is_refused(
    registry: RegistryService, base: ModelVersion, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidInput, match="cannot be a model's name"):
        registry.register_base(LOCAL_ADMIN, BaseSource(str(tmp_path / "base"), name))


def test_without_a_name_the_folders_is_taken(registry: RegistryService, tmp_path: Path) -> None:
    folder = base_folder(tmp_path / "mine")
    found = registry.register(LOCAL_ADMIN, BaseSource(str(folder), ""))
    assert isinstance(found, ModelVersion)
    assert found.reference == "mine@1"


def test_what_a_run_made_is_registered_once_with_its_lineage(
    registry: RegistryService, lineage: Lineage, base: ModelVersion, tmp_path: Path
) -> None:
    new = _adapter(tmp_path, base, "run_1")
    first = registry.register_weights(LOCAL_ADMIN, new)
    assert registry.register_weights(LOCAL_ADMIN, new) == first
    assert (first.reference, first.kind, first.licence) == ("assistant@1", ModelKind.ADAPTER, "MIT")
    second = registry.register_weights(LOCAL_ADMIN, _adapter(tmp_path, base, "run_22", first.id))
    parents = {(edge.parent.id, edge.relation) for edge in lineage.parents(Node("model_version", second.id))}
    assert parents == {("run_22", "made_by"), (first.id, "continued_from"), (base.id, "adapter_of")}
    assert registry.ancestry(STAKEHOLDER, "assistant") == (second, first, base)


def test_merged_weights_are_their_own_base(
    registry: RegistryService, base: ModelVersion, tmp_path: Path
) -> None:
    path = base_folder(tmp_path / "full", fill=3)
    new = NewWeights("full", ModelKind.MERGED, path, base.id, base.id, "run_1", 11)
    merged = registry.register_weights(LOCAL_ADMIN, new)
    assert (merged.base_id, merged.parent_id) == (merged.id, base.id)
    assert registry.ancestry(LOCAL_ADMIN, "full") == (merged, base)


def test_an_adapter_is_not_a_base(registry: RegistryService, base: ModelVersion, tmp_path: Path) -> None:
    adapter = registry.register_weights(LOCAL_ADMIN, _adapter(tmp_path, base, "run_1"))
    with pytest.raises(InvalidInput, match="is an adapter and cannot be a base"):
        registry.register_weights(LOCAL_ADMIN, _adapter(tmp_path, adapter, "run_2"))


def test_a_home_can_be_moved(
    registry: RegistryService,
    database: Database,
    home: Path,
    jobs: JobService,
    lineage: Lineage,
    audit: Audit,
    tmp_path: Path,
) -> None:
    registry.register_base(LOCAL_ADMIN, BaseSource(str(base_folder(home / "models" / "inside")), "inside"))
    moved = RegistryService(database, tmp_path / "elsewhere", jobs, lineage, audit)
    assert moved.version(LOCAL_ADMIN, "inside").path == tmp_path / "elsewhere" / "models" / "inside"


def test_who_only_looks_may_not_change(registry: RegistryService, base: ModelVersion, tmp_path: Path) -> None:
    source = BaseSource(str(tmp_path / "base"), "base")
    with pytest.raises(Forbidden):
        registry.register(STAKEHOLDER, source)
    with pytest.raises(Forbidden):
        registry.register_base(STAKEHOLDER, source)
    with pytest.raises(Forbidden):
        registry.start_download(STAKEHOLDER, BaseSource("a/b", "b"))
    with pytest.raises(Forbidden):
        registry.start_embedded(STAKEHOLDER)
    with pytest.raises(Forbidden):
        registry.alias(STAKEHOLDER, "live", "base")
    with pytest.raises(Forbidden):
        registry.register_weights(STAKEHOLDER, _adapter(tmp_path, base, "run_1"))


def test_a_registered_model_outlives_a_second_look_at_its_folder(
    registry: RegistryService, base: ModelVersion
) -> None:
    shutil.rmtree(base.path)
    assert registry.version(LOCAL_ADMIN, "base") == base


@pytest.mark.parametrize("whole", [True, False])
def test_a_reward_model_is_known_by_its_files_and_cannot_chat(
    registry: RegistryService, base: ModelVersion, tmp_path: Path, whole: bool
) -> None:
    made = base_folder(tmp_path / "made") if whole else adapter_folder(tmp_path / "made")
    config = '{"architectures": ["LlamaForSequenceClassification"]}' if whole else '{"task_type": "SEQ_CLS"}'
    (made / ("config.json" if whole else "adapter_config.json")).write_text(config)
    kind = ModelKind.MERGED if whole else ModelKind.ADAPTER
    new = NewWeights("judge", kind, made, base.id, base.id, "run-7", 4)
    version = registry.register_weights(LOCAL_ADMIN, new)
    assert registry.version(LOCAL_ADMIN, "judge").task is ModelTask.REWARD
    assert base.writes
    with pytest.raises(InvalidInput, match="judge@1 is a reward model"):
        version.must_write()
