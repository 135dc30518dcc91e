"""Settings, ids, errors, actors, lineage and audit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from studio.core import (
    LOCAL_ADMIN,
    Actor,
    Audit,
    Database,
    Edge,
    Forbidden,
    InvalidInput,
    Lineage,
    Node,
    Role,
    Settings,
    StudioError,
    new_id,
    read_json,
    require,
    write_json,
)
from studio.core.files import tree_digest
from studio.core.ids import new_ordered_id
from studio.core.settings import is_loopback


def test_an_id_names_its_kind_and_does_not_repeat() -> None:
    ids = {new_id("run") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(key.startswith("run_") and len(key) == 14 for key in ids)


def test_an_ordered_id_sorts_by_when_it_was_made() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_ordered_id("label"))
        time.sleep(0.002)
    assert ids == sorted(ids)
    burst = {new_ordered_id("label") for _ in range(5000)}
    assert len(burst) == 5000
    assert all(key.startswith("label_") and len(key) == 20 for key in burst)


def test_an_error_says_what_to_do_and_lists_its_findings() -> None:
    error = StudioError("It broke.", "Mend it.", ("first", "second"))
    assert str(error) == "It broke. Mend it.\n- first\n- second"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_names_are_allowed(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_a_bind_that_others_can_reach_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(InvalidInput, match="no accounts"):
        Settings(_env_file=None, host=host).require_loopback()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUDIO_PORT", "9000")
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "x"))
    settings = Settings(_env_file=None)
    assert settings.port == 9000
    assert settings.database_path == tmp_path / "x" / "studio.db"


def test_settings_come_from_a_dotenv_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STUDIO_PORT=9001\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().port == 9001


def test_require_lets_an_admin_and_the_named_roles_pass() -> None:
    require(LOCAL_ADMIN)
    require(Actor("ann", Role.ANNOTATOR), Role.ANNOTATOR)
    with pytest.raises(Forbidden, match="ann is annotator"):
        require(Actor("ann", Role.ANNOTATOR), Role.RESEARCHER)


def test_lineage_leads_back_to_every_origin_once(database: Database) -> None:
    lineage = Lineage(database)
    run, data, vote, model = (Node(k, k) for k in ("run", "dataset_version", "vote", "model_version"))
    chain = [
        Edge(model, run, "made_by"),
        Edge(run, data, "trained_on"),
        Edge(data, vote, "judged_by"),
        Edge(run, model, "warm_start"),
    ]
    lineage.link(chain)
    lineage.link(chain)
    assert set(lineage.ancestors(model)) == set(chain)
    assert len(lineage.ancestors(model)) == len(chain)
    assert [edge.child for edge in lineage.children(vote)] == [data]


def test_the_audit_log_is_for_admins(database: Database) -> None:
    audit = Audit(database)
    audit.record(LOCAL_ADMIN, "imported", Node("dataset_version", "dv_1"), "rows.csv")
    [entry] = audit.recent(LOCAL_ADMIN)
    assert (entry.actor, entry.verb, entry.target.id) == ("local", "imported", "dv_1")
    with pytest.raises(Forbidden):
        audit.recent(Actor("ann", Role.ANNOTATOR))


def test_json_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_json(path) is None
    write_json(path, {"a": "ü"})
    assert read_json(path) == {"a": "ü"}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_tree_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = tree_digest(tmp_path)
    (tmp_path / "a").write_text("2")
    second = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, tree_digest(tmp_path)}) == 3


def test_every_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_PORT", "abc")
    monkeypatch.setenv("STUDIO_TRAINING_SLOTS", "0")
    with pytest.raises(InvalidInput) as caught:
        Settings.load()
    assert [line.partition(":")[0] for line in caught.value.details] == [
        "STUDIO_PORT",
        "STUDIO_TRAINING_SLOTS",
    ]
