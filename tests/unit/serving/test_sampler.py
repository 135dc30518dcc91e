"""The draw of one token, against a plain implementation. Torch runs in a subprocess."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import torch
from studio.serving.engine.sampler import _nucleus, choose
from studio.serving.records import Sampling

torch.manual_seed(0)
for size, spread, top_p in [(1000, 0.01, 0.99), (1000, 5.0, 0.9), (50, 1.0, 1.0), (1000, 3.0, 0.001)]:
    p = torch.softmax(torch.randn(size).double() * spread, -1)
    values, tokens = _nucleus(p, top_p)
    order = p.argsort(descending=True)
    reached = p[order].cumsum(0)
    wanted = int((reached < top_p).sum()) + 1
    assert len(tokens) == min(wanted, size), (len(tokens), wanted)
    assert set(tokens.tolist()) == set(order[:len(tokens)].tolist())

logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
generator = torch.Generator().manual_seed(1)
n = 4000
sampling = Sampling(temperature=0.5, top_p=0.99, max_tokens=1)
counts = torch.zeros(4)
for _ in range(n):
    counts[choose(logits, [], sampling, generator)] += 1
p = torch.softmax(logits / 0.5, -1)
kept = p[:3] / p[:3].sum()  # the first three reach 0.99 (they sum to 0.998), the first two do not
assert counts[3] == 0
error = 4 * (kept * (1 - kept) / n).sqrt()
assert ((counts[:3] / n - kept).abs() < error).all(), (counts / n, kept)

greedy = Sampling(temperature=0.0, repetition_penalty=2.0, max_tokens=1)
assert choose(torch.tensor([3.0, 2.0, -1.0]), [0, 2], greedy, generator) == 1
mild = Sampling(temperature=0.0, repetition_penalty=1.5, max_tokens=1)
assert choose(torch.tensor([-3.0, -2.0, -1.0]), [2], mild, generator) == 2
assert choose(torch.tensor([-3.0, -2.0, -1.5]), [2], greedy, generator) == 1
"""


def test_the_nucleus_and_the_draw() -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT], check=True, cwd=Path(__file__).parents[3])
