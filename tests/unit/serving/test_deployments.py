"""Deployments: what is refused, what is kept, and who gets what."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace

import pytest

from studio.core import LOCAL_ADMIN, Conflict, Database, InvalidInput, NotFound, Settings, Unavailable
from studio.core.lineage import Node
from studio.serving import ChatMessage, DeploymentState, Sampling, ServingService, TokenDelta, VariantSpec
from studio.serving.service import with_system_prompt
from tests.unit.serving.conftest import Shelf, make_service
from tests.unit.serving.fakes import FakeBackend, end

USERS = [f"user-{i}" for i in range(400)]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(lambda rows: [TokenDelta(0, "hello", 1), end(0)])


@pytest.fixture
def service(database: Database, settings: Settings, shelf: Shelf, backend: FakeBackend) -> ServingService:
    return make_service(database, settings, shelf, backend)


@pytest.fixture
def pair(shelf: Shelf) -> tuple[VariantSpec, ...]:
    return (VariantSpec("base", shelf.base.id, 1.0), VariantSpec("sft", shelf.first.id, 1.0))


def picks(service: ServingService) -> dict[str, str]:
    return {user: service.pick(LOCAL_ADMIN, "chat", user).name for user in USERS}


def test_every_fault_is_named_at_once(service: ServingService, shelf: Shelf) -> None:
    with pytest.raises(InvalidInput) as raised:
        service.deploy(
            LOCAL_ADMIN,
            "Bad Name",
            (
                VariantSpec("a", shelf.base.id, 1.0),
                VariantSpec("a", "nothing@1", 0.0),
                VariantSpec("b", shelf.base.id, float("nan")),
            ),
        )
    told = "\n".join(raised.value.details)
    for fault in ("'Bad Name'", "there 2 times", "weight 0.0", "weight nan", "nothing"):
        assert fault in told
    with pytest.raises(InvalidInput, match="no variant"):
        service.deploy(LOCAL_ADMIN, "chat", ())
    assert service.deployments(LOCAL_ADMIN) == ()


def test_a_deployment_keeps_every_state_it_had(service: ServingService, pair, shelf: Shelf) -> None:
    first = service.deploy(LOCAL_ADMIN, "chat", pair[:1])
    assert (first.revision, first.state) == (1, DeploymentState.LIVE)
    assert service.deploy(LOCAL_ADMIN, "chat", pair[:1]) == first
    by_reference = (replace(pair[0], model_version_id=shelf.base.reference), pair[1])
    second = service.deploy(LOCAL_ADMIN, "chat", by_reference)
    assert second.id == first.id
    assert second.variants == pair
    retired = service.retire(LOCAL_ADMIN, "chat")
    assert retired.state is DeploymentState.RETIRED
    assert service.retire(LOCAL_ADMIN, "chat").revision == 3
    with pytest.raises(Conflict, match="retired"):
        service.pick(LOCAL_ADMIN, "chat", "u")
    back = service.rollback(LOCAL_ADMIN, "chat", 1)
    assert (back.revision, back.state, back.variants) == (4, DeploymentState.LIVE, pair[:1])
    assert [d.revision for d in service.history(LOCAL_ADMIN, "chat")] == [4, 3, 2, 1]
    assert service.history(LOCAL_ADMIN, "chat")[2] == second
    assert service.deployments(LOCAL_ADMIN) == (back,)


def test_what_is_not_there(service: ServingService, pair) -> None:
    for call in (service.deployment, service.history, service.retire):
        with pytest.raises(NotFound, match="nobody"):
            call(LOCAL_ADMIN, "nobody")
    service.deploy(LOCAL_ADMIN, "chat", pair)
    with pytest.raises(NotFound, match="1 to 1"):
        service.rollback(LOCAL_ADMIN, "chat", 9)


def test_users_stay_and_a_rollback_brings_them_back(service: ServingService, pair) -> None:
    service.deploy(LOCAL_ADMIN, "chat", pair)
    before = picks(service)
    assert picks(service) == before
    assert 0.4 < Counter(before.values())["sft"] / len(USERS) < 0.6
    service.deploy(LOCAL_ADMIN, "chat", (pair[0], replace(pair[1], weight=3.0)))
    after = picks(service)
    assert all(after[u] == "sft" for u in USERS if before[u] == "sft")
    assert 0.68 < Counter(after.values())["sft"] / len(USERS) < 0.82
    service.rollback(LOCAL_ADMIN, "chat", 1)
    assert picks(service) == before


def test_predict_uses_the_variant_that_is_the_users(
    service: ServingService, backend: FakeBackend, shelf: Shelf, database: Database
) -> None:
    own = Sampling(temperature=0.25, max_tokens=9)
    variant = VariantSpec("only", shelf.first.id, 1.0, "Be brief.", own)
    service.deploy(LOCAL_ADMIN, "chat", (variant,))
    hi = (ChatMessage(role="user", content="Hi"),)
    prediction = service.predict(LOCAL_ADMIN, "chat", "u1", hi)
    assert (prediction.deployment, prediction.variant) == ("chat", "only")
    assert prediction.generation.text == "hello"
    [row] = backend.asked[0]
    assert row.sampling.temperature == 0.25
    assert row.adapter_id == shelf.first.id
    assert [m.role for m in row.messages] == ["system", "user"]
    assert prediction.generation.source == "predict"
    assert prediction.generation.user == "u1"
    other = Sampling(temperature=0.5)
    service.predict(LOCAL_ADMIN, "chat", "u1", hi, other)
    assert backend.asked[1][0].sampling.temperature == 0.5
    assert service.variant_answers(LOCAL_ADMIN, "chat") == {"only": 2}


def test_predict_says_when_the_answer_failed(
    database: Database, settings: Settings, shelf: Shelf, pair
) -> None:
    broken = FakeBackend(lambda rows: [TokenDelta(0, "ha", 1), Unavailable("It broke.", "Again.")])
    service = make_service(database, settings, shelf, broken)
    service.deploy(LOCAL_ADMIN, "chat", pair)
    with pytest.raises(Unavailable, match=r"It broke.*stored as gen_"):
        service.predict(LOCAL_ADMIN, "chat", "u", (ChatMessage(role="user", content="Hi"),), None)
    assert service.generations(LOCAL_ADMIN)[0].finish_reason == "error"
    assert service.variant_answers(LOCAL_ADMIN, "chat") == {}


def test_one_system_message_is_left() -> None:
    client = (ChatMessage(role="system", content="client"), ChatMessage(role="user", content="Hi"))
    assert with_system_prompt("", client) == client
    assert [m.content for m in with_system_prompt("own", client)] == ["own\n\nclient", "Hi"]


def test_deployments_are_on_record(service: ServingService, pair, shelf: Shelf, database: Database) -> None:
    made = service.deploy(LOCAL_ADMIN, "chat", pair)
    served = {edge.parent.id for edge in shelf.lineage.parents(Node("deployment", made.id))}
    assert served == {shelf.base.id, shelf.first.id}
    assert shelf.audit.recent(LOCAL_ADMIN)[0].verb == "deployed"
    with pytest.raises(sqlite3.IntegrityError, match="immutable"), database.write() as connection:
        connection.execute("DELETE FROM deployment_revisions")
