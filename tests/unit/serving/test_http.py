"""The engine's HTTP face, spoken to as a stranger would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from studio.serving.backends.local import LocalBackend
from studio.serving.backends.process import EngineProcess
from tests.unit.serving.adapters import PROMPTS, Reference
from tests.unit.serving.conftest import Rows


@pytest.fixture
def engine(backend: LocalBackend, rows: Rows) -> EngineProcess:
    for name in ("first", "second"):
        for _ in backend.generate([rows.row(name, "Hi", max_tokens=1)]):
            pass
    process = backend._engines["tiny"]._process
    assert process is not None
    return process


@pytest.fixture
def http(engine: EngineProcess) -> Iterator[httpx.Client]:
    address = f"http://127.0.0.1:{engine.client.port}"
    headers = {"Authorization": engine.client._headers["Authorization"]}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        yield client


def chat(prompt: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "base", "messages": messages, "temperature": 0, "max_tokens": 40, **fields}


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_nothing_answers_without_the_token(http: httpx.Client) -> None:
    for method, path in [("GET", "/health"), ("GET", "/v1/models"), ("POST", "/rows"), ("POST", "/shutdown")]:
        for header in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
            assert http.request(method, path, headers=header).status_code == 401


def test_models_are_the_base_and_its_adapters(http: httpx.Client) -> None:
    ids = [model["id"] for model in http.get("/v1/models").json()["data"]]
    assert ids[0] == "base"
    assert {"first", "second"} <= set(ids)


@pytest.mark.parametrize("model", [None, "first"])
def test_a_chat_completion_whole(http: httpx.Client, reference: Reference, model: str | None) -> None:
    answer = http.post("/v1/chat/completions", json=chat(PROMPTS[0], model=model or "base")).json()
    tokens, text = reference.answer(model, PROMPTS[0])
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")


def test_a_chat_completion_streamed(http: httpx.Client, reference: Reference) -> None:
    body = chat(PROMPTS[0], stream=True, stream_options={"include_usage": True})
    body["messages"][0]["content"] = [{"type": "text", "text": PROMPTS[0]}]
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    tokens, text = reference.answer(None, PROMPTS[0])
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == text
    assert chunks[-1]["usage"]["completion_tokens"] == tokens
    assert len({c["id"] for c in chunks}) == 1


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"model": "nobody"}, 404, "nobody"),
        ({"max_tokens": 5000}, 422, "4096"),
        ({"max_tokens": 600}, 400, "context is 512"),
        ({"temperature": 9}, 422, "temperature"),
        ({"n": 2}, 400, "n"),
        ({"stop": ["x"]}, 400, "stop"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 422, "role"),
        ({"messages": "x"}, 422, "messages"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_reason(
    http: httpx.Client, change: dict[str, Any], status: int, says: str
) -> None:
    response = http.post("/v1/chat/completions", json=chat("Hi", **change))
    assert response.status_code == status
    assert says in response.json()["error"]["message"]


def test_fields_that_ask_for_nothing_are_let_through(http: httpx.Client) -> None:
    body = chat("Hi", n=1, frequency_penalty=0, logprobs=False, user="u", max_tokens=2)
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_broken_bodies(http: httpx.Client) -> None:
    for body in (b"", b"{", b'{"rows": NaN}', b"[" * 100_000, b'{"rows": []}', b"\xff"):
        assert http.post("/rows", content=body).status_code == 422
    assert http.post("/rows", content=b" " * (17 << 20)).status_code == 413


def test_bad_adapters_are_refused_by_name(http: httpx.Client, reference: Reference, tmp_path: Path) -> None:
    source = reference.path("first")
    config = json.loads((source / "adapter_config.json").read_text())
    for change, says in [
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ]:
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
        (tmp_path / "adapter_model.safetensors").write_bytes(
            (source / "adapter_model.safetensors").read_bytes()
        )
        response = http.post("/adapters", json={"id": "bad", "path": str(tmp_path)})
        assert response.status_code == 422
        assert says in response.json()["error"]["message"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    for value, shape, says in [(float("nan"), None, "NaN"), (0.0, (4, 7), "another base")]:
        tensors = load_file(source / "adapter_model.safetensors")
        name = next(n for n in tensors if n.endswith("lora_A.weight"))
        tensors[name] = np.full(shape or tensors[name].shape, value, dtype=np.float32)
        save_file(tensors, tmp_path / "adapter_model.safetensors")
        response = http.post("/adapters", json={"id": "bad", "path": str(tmp_path)})
        assert response.status_code == 422
        assert says in response.json()["error"]["message"]
    missing = http.post("/adapters", json={"id": "bad", "path": str(tmp_path / "nowhere")})
    assert missing.status_code == 422


def test_an_adapter_can_be_unloaded_while_it_answers(http: httpx.Client, reference: Reference) -> None:
    path = str(reference.path("second"))
    assert http.post("/adapters", json={"id": "passing", "path": path}).status_code == 200
    rows = [{"adapter": "passing", "messages": chat(PROMPTS[0])["messages"]}]
    body = {"rows": [{**rows[0], "sampling": {"temperature": 0, "max_tokens": 40}}]}
    with http.stream("POST", "/rows", json=body) as response:
        assert http.delete("/adapters/passing").status_code == 200
        events = [json.loads(line) for line in response.iter_lines()]
    assert "".join(e.get("text", "") for e in events) == reference.answer("second", PROMPTS[0])[1]
    assert http.post("/rows", json=body).status_code == 404


def test_a_client_that_leaves_frees_its_rows(http: httpx.Client) -> None:
    row = {"messages": chat(PROMPTS[0])["messages"], "sampling": {"temperature": 2.0, "max_tokens": 400}}
    with http.stream("POST", "/rows", json={"rows": [row, row]}) as response:
        lines = response.iter_lines()
        for _ in range(4):
            next(lines)
    assert until(lambda: http.get("/health").json()["active"] == 0, 5.0)


def test_a_full_queue_says_when_to_come_back(http: httpx.Client) -> None:
    row = {"messages": chat("Hi")["messages"], "sampling": {"temperature": 2.0, "max_tokens": 450}}
    full = {"rows": [row] * 64}
    with http.stream("POST", "/rows", json=full) as first:
        assert until(lambda: http.get("/health").json()["active"] == 16)
        with http.stream("POST", "/rows", json={"rows": [row] * 16}) as second:
            refused = http.post("/rows", json=full)
            assert refused.status_code == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert "wait" in refused.json()["error"]["message"]
            assert second.status_code == 200
        assert first.status_code == 200
    assert until(lambda: _idle(http))


def _idle(http: httpx.Client) -> bool:
    health = http.get("/health").json()
    return health["active"] == 0 and health["waiting"] == 0
