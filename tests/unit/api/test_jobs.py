"""The queue over REST."""

from __future__ import annotations

from fastapi.testclient import TestClient

from studio.core import LOCAL_ADMIN
from studio.jobs import JobSpec, Slot
from studio.studio import Studio


def add(studio: Studio, subject: str, **more) -> str:
    spec = JobSpec("test", "json.tool", subject, {}, Slot.TRAINING, after=("what never comes",), **more)
    return studio.jobs.submit(LOCAL_ADMIN, spec, job_id=f"job_{subject}").id


def test_the_queue_is_read_and_changed(client: TestClient, studio: Studio) -> None:
    first, second, third = (add(studio, name) for name in "abc")

    def order() -> list[str]:
        return [one["job"]["id"] for one in client.get("/jobs/queue").json()]

    assert order() == [first, second, third]
    [top, *_] = client.get("/jobs/queue").json()
    assert top["place"] == 1
    assert top["waits_for"] == "Waits for what never comes, which was not submitted yet"
    assert client.post(f"/jobs/{third}/move", json={"before": first}).json()["id"] == third
    assert order() == [third, first, second]
    client.post(f"/jobs/{third}/move", json={})
    assert order() == [first, second, third]
    assert client.post(f"/jobs/{second}/priority", json={"priority": 3}).json()["priority"] == 3
    assert order() == [second, first, third]
    assert client.get(f"/jobs/{second}").json()["devices"] == []


def test_what_cannot_be_is_refused(client: TestClient, studio: Studio) -> None:
    job = add(studio, "a")
    assert client.post(f"/jobs/{job}/priority", json={"priority": 5000}).status_code == 422
    assert client.post(f"/jobs/{job}/move", json={"behind": job}).status_code == 422
    assert client.post(f"/jobs/{job}/move", json={"before": "job_none"}).status_code == 404
    client.post(f"/jobs/{job}/stop")
    assert client.post(f"/jobs/{job}/move", json={}).status_code == 409
