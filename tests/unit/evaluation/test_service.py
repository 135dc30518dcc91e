from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from typing import Any

import pytest

from studio.core import LOCAL_ADMIN, Actor, Audit, Forbidden, InvalidInput, NotFound, Role
from studio.datasets import DatasetVersion, Split
from studio.evaluation import Evaluation, EvaluationKind, EvaluationService
from studio.jobs import Job, JobService, JobSpec, JobState
from studio.registry import ModelVersion

LOSS, PREFERENCE = EvaluationKind.ANSWER_LOSS, EvaluationKind.PREFERENCE_ACCURACY

# The adapter's numbers the plain way: one row at a time, float32 weights, the whole of the logits.
_ORACLE = """
import json, sys, torch
import pyarrow.parquet as pq
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, instructions, preferences = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter)

def logp(prompt, answer):
    head = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    a = tokenizer(head, add_special_tokens=False)["input_ids"]
    b = tokenizer(answer["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        found = model(input_ids=torch.tensor([a + b])).logits[0].log_softmax(-1)
    return [float(found[len(a) + i - 1, t]) for i, t in enumerate(b)]

said = []
for row in pq.read_table(instructions).to_pylist():
    messages = row["messages"]
    if len(messages[0]["content"]) < 1000:
        for place, message in enumerate(messages):
            said += logp(messages[:place], message) if message["role"] == "assistant" else []
margins = []
for row in pq.read_table(preferences).to_pylist():
    chosen, rejected = (logp(row["prompt"], row[side][0]) for side in ("chosen", "rejected"))
    margins.append(sum(chosen) / len(chosen) - sum(rejected) / len(rejected))
print(json.dumps({"loss": -sum(said) / len(said), "tokens": len(said), "margins": margins}))
"""


def _oracle(base: ModelVersion, adapter: ModelVersion, *versions: DatasetVersion) -> Any:
    rows = [str(version.file(Split.VALIDATION)) for version in versions]
    command = [sys.executable, "-c", _ORACLE, str(base.path), str(adapter.path), *rows]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _finish(evaluation: EvaluationService, jobs: JobService, job: Job) -> Evaluation:
    ended = jobs.wait(LOCAL_ADMIN, job.id, 120)
    assert ended.state is JobState.SUCCEEDED, jobs.log(LOCAL_ADMIN, job.id).text
    found = evaluation.result(LOCAL_ADMIN, job.id)
    assert found is not None
    return found


def test_answer_loss_of_base_and_adapter_on_the_same_rows(
    evaluation: EvaluationService,
    jobs: JobService,
    base: ModelVersion,
    adapter: ModelVersion,
    instructions: DatasetVersion,
) -> None:
    job = evaluation.start(LOCAL_ADMIN, LOSS, ("tiny", "tuned@1", base.id), instructions.reference)
    assert evaluation.result(LOCAL_ADMIN, job.id) is None
    found = _finish(evaluation, jobs, job)
    assert (found.kind, found.dataset_id, found.split) == (LOSS, instructions.id, Split.VALIDATION)
    assert (found.n, found.skipped) == (11, 1)
    assert [score.reference for score in found.scores] == ["tiny@1", "tuned@1"]
    before, after = found.scores
    assert before.tokens == after.tokens
    assert before.value != after.value
    # Random weights know nothing: every one of 512 tokens is about as likely.
    assert math.isclose(before.value, math.log(512), rel_tol=0.05)
    assert before.interval is not None
    assert before.interval.low < before.value < before.interval.high
    assert found.score("tuned@1") == found.score(adapter.id) == after
    assert evaluation.list(LOCAL_ADMIN) == (found,)


def test_loss_and_accuracy_agree_with_the_plain_computation(
    evaluation: EvaluationService,
    jobs: JobService,
    base: ModelVersion,
    adapter: ModelVersion,
    instructions: DatasetVersion,
    preferences: DatasetVersion,
) -> None:
    plain = _oracle(base, adapter, instructions, preferences)
    loss = _finish(evaluation, jobs, evaluation.start(LOCAL_ADMIN, LOSS, "tuned", instructions.id)).scores[0]
    assert loss.tokens == plain["tokens"]
    assert math.isclose(loss.value, plain["loss"], rel_tol=0.01)
    job = evaluation.start(LOCAL_ADMIN, "preference_accuracy", "tuned", preferences.name)
    accuracy = _finish(evaluation, jobs, job).scores[0]
    # A pair within this margin (in nats per token) may fall either way in bfloat16.
    least, most = (sum(margin > edge for margin in plain["margins"]) / 7 for edge in (0.01, -0.01))
    assert most - least < 0.3
    assert least <= accuracy.value <= most
    assert (accuracy.n, accuracy.ties) == (7, 0)
    assert accuracy.interval is not None


def test_rows_that_no_model_can_hold_end_in_a_readable_failure(
    evaluation: EvaluationService, jobs: JobService, base: ModelVersion, instructions: DatasetVersion
) -> None:
    job = evaluation.start(LOCAL_ADMIN, LOSS, base.id, instructions.id, max_length=4)
    ended = jobs.wait(LOCAL_ADMIN, job.id, 120)
    assert ended.state is JobState.FAILED
    assert "None of the 12 rows fits into 4 tokens" in ended.reason
    assert evaluation.result(LOCAL_ADMIN, job.id) is None


def test_an_evaluation_can_be_stopped(
    evaluation: EvaluationService, jobs: JobService, base: ModelVersion, instructions: DatasetVersion
) -> None:
    job = evaluation.start(LOCAL_ADMIN, LOSS, base.id, instructions.id)
    deadline = time.monotonic() + 60
    while jobs.get(LOCAL_ADMIN, job.id).state is not JobState.RUNNING and time.monotonic() < deadline:
        jobs.tick()
        time.sleep(0.02)
    jobs.request_stop(LOCAL_ADMIN, job.id)
    assert jobs.wait(LOCAL_ADMIN, job.id, 60).state is JobState.STOPPED
    assert evaluation.result(LOCAL_ADMIN, job.id) is None


def test_what_cannot_be_measured_is_refused_before_a_job_starts(
    evaluation: EvaluationService,
    jobs: JobService,
    base: ModelVersion,
    instructions: DatasetVersion,
    preferences: DatasetVersion,
) -> None:
    with pytest.raises(InvalidInput, match="is measured on preference rows"):
        evaluation.start(LOCAL_ADMIN, PREFERENCE, base.id, instructions.id)
    with pytest.raises(InvalidInput, match="has no train rows"):
        evaluation.start(LOCAL_ADMIN, LOSS, base.id, instructions.id, split=Split.TRAIN)
    with pytest.raises(InvalidInput, match="There is no evaluation 'beauty'"):
        evaluation.start(LOCAL_ADMIN, "beauty", base.id, instructions.id)
    with pytest.raises(InvalidInput, match="at least one model"):
        evaluation.start(LOCAL_ADMIN, LOSS, (), instructions.id)
    with pytest.raises(NotFound, match="No model is called"):
        evaluation.start(LOCAL_ADMIN, LOSS, "nobody", instructions.id)
    with pytest.raises(Forbidden):
        evaluation.start(Actor("sam", Role.STAKEHOLDER), LOSS, base.id, instructions.id)
    assert jobs.list(LOCAL_ADMIN, "evaluation") == ()


def test_a_job_of_another_kind_is_no_evaluation(evaluation: EvaluationService, jobs: JobService) -> None:
    other = jobs.submit(LOCAL_ADMIN, JobSpec("other", "studio.evaluation.worker", "x", {}))
    with pytest.raises(NotFound, match="is no evaluation"):
        evaluation.result(LOCAL_ADMIN, other.id)


def test_an_evaluation_is_in_the_audit(
    evaluation: EvaluationService, audit: Audit, base: ModelVersion, instructions: DatasetVersion
) -> None:
    evaluation.start(LOCAL_ADMIN, LOSS, base.id, instructions.id)
    entry = next(entry for entry in audit.recent(LOCAL_ADMIN) if entry.verb == "evaluated")
    assert entry.target.id == instructions.id
    assert entry.detail == "answer_loss of tiny@1"
