"""What Gradio must not do once it is mounted: serve or read files of the machine, offer endpoints of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("mount") / "home", sample_data="0") as running:
        yield running


def test_files_of_the_machine_are_not_served(server: Server) -> None:
    for path in ("/etc/passwd", str(server.home / "studio.db")):
        assert server.client.get(f"/studio/gradio_api/file={path}").status_code in {403, 404}


def test_a_handler_cannot_be_made_to_read_a_file_of_the_machine(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"text": "the word nobody may see"}\n')
    [event] = [d for d in server.get("/studio/config")["dependencies"] if d["api_name"] == "look_upload"]
    file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    data = [file, *[None] * (len(event["inputs"]) - 1)]
    body = {"data": data, "fn_index": event["id"], "session_hash": "mounttest1", "trigger_id": None}
    server.post("/studio/gradio_api/queue/join", body)
    with server.client.stream(
        "GET", "/studio/gradio_api/queue/data", params={"session_hash": "mounttest1"}
    ) as answer:
        [done] = [m for m in _messages(answer.iter_lines()) if m["msg"] == "process_completed"]
    assert done["success"] is False
    assert "nobody may see" not in json.dumps(done)


def test_gradio_offers_no_endpoint_of_its_own(server: Server) -> None:
    info = server.get("/studio/gradio_api/info")
    assert info["named_endpoints"] == {}
    assert info["unnamed_endpoints"] == {}


def test_a_page_of_another_origin_cannot_reach_gradio(server: Server) -> None:
    foreign = {"origin": "http://evil.example"}
    for path in ("upload", "queue/join", "run/look_path", "reset", "cancel"):
        assert server.client.post(f"/studio/gradio_api/{path}", headers=foreign).status_code == 403
    assert server.client.get("/studio/", headers={"host": "evil.example"}).status_code == 421


def _messages(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        if line.startswith("data:"):
            message = json.loads(line[5:])
            yield message
            if message["msg"] in {"process_completed", "close_stream", "unexpected_error"}:
                return
