"""The parts of the card's script that stand alone, and its requests: no studio needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from pages.theme import asset

pytestmark = pytest.mark.e2e

_PARTS = ("label_words.js", "label_clock.js", "label_differences.js", "label_markdown.js")
_BOX = "const box = document.createElement('div'); box.append(markdown(window.given));"
_RUNS = """[...box.querySelectorAll('*')].filter((one) =>
  ['SCRIPT', 'IMG', 'SVG', 'IFRAME'].includes(one.tagName.toUpperCase()) || [...one.attributes].some((a) =>
    a.name.startsWith('on') || (a.name === 'href' && !/^(https?|mailto):/.test(a.value)))).length"""


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def run(page: Page, expression: str) -> Any:
    code = "\n".join(asset(name) for name in _PARTS)
    return page.evaluate(f"() => {{ {code}\n return {expression}; }}")


def clock(page: Page, *steps: str) -> float:
    calls = " ".join(f"clock.{step};" for step in steps)
    seconds: float = run(
        page, f"(() => {{ const clock = makeClock(); {calls} return clock.seconds(200000); }})()"
    )
    return seconds


def test_active_time_leaves_idle_and_hidden_time_out(blank: Page) -> None:
    # 10 s at work, then nothing until 200 s: 30 s of that count.
    assert clock(blank, "start(0, true)", "touch(10000)") == 40
    # Hidden from 5 s to 190 s: 5 s before and 10 s after.
    assert clock(blank, "start(0, true)", "hide(5000)", "show(190000)") == 15
    # What happens while hidden is not work, and an item that came while hidden starts when it is seen.
    assert clock(blank, "start(0, false)", "touch(50000)", "show(195000)") == 5
    # A sign of life each 20 s is work all along.
    assert clock(blank, "start(0, true)", *(f"touch({n}000)" for n in range(20, 200, 20))) == 200


def test_differences_mark_the_words_of_one_side(blank: Page) -> None:
    found = run(blank, "differences('The cat sat down.', 'The dog sat.')")
    assert [words for words, only in found["a"] if only] == ["cat", " down"]
    assert [words for words, only in found["b"] if only] == ["dog"]
    assert "".join(words for words, _ in found["a"]) == "The cat sat down."
    assert run(blank, "differences('a '.repeat(5000), 'b '.repeat(5000))") is None


def html(page: Page, text: str) -> str:
    page.evaluate("text => { window.given = text; }", text)
    made: str = run(page, f"(() => {{ {_BOX} return box.innerHTML; }})()")
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One\n\ntwo *three* `<b>`", "<h3>One</h3><p>two <em>three</em> <code>&lt;b&gt;</code></p>"),
        ("1. a\n2. b\n   - c", "<ol><li>a</li><li>b<ul><li>c</li></ul></li></ol>"),
        ("> said\n> so", "<blockquote><p>said\nso</p></blockquote>"),
        ("```\n# no *heading*\n```", "<pre><code># no *heading*</code></pre>"),
        ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
        ("---", "<hr>"),
        ("#hash\nnext", "<p>#hash\nnext</p>"),
    ],
)
def test_markdown_becomes_elements(blank: Page, text: str, expected: str) -> None:
    assert html(blank, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert)",
        "[x](data:text/html,hi)",
        "[x](vbscript:x)",
        '[x](https://a.example"onmouseover="alert)',
        "**<svg onload=alert(1)>**",
    ],
)
def test_markdown_makes_nothing_that_runs(blank: Page, text: str) -> None:
    html(blank, text)
    bad = run(blank, f"(() => {{ {_BOX} return {_RUNS}; }})()")
    assert bad == 0


# The first request of each kind is never answered; a minute's patience lasts 20 ms here.
_SILENT = """
  const patience = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = () => patience(20);
  const tandem = { parent: () => '' };
  const asked = { labels: [], next: [] };
  const silence = (signal) => new Promise((_, fail) => {
    if (signal) signal.addEventListener('abort', () => fail(signal.reason));
  });
  const fetch = (path, { body, signal }) => {
    const kind = path.includes('/labels') ? 'labels' : 'next';
    asked[kind].push(body ? JSON.parse(body).nonce : path);
    const answer = kind === 'labels' ? {} : [{ id: 'item_2' }];
    return asked[kind].length < 2 ? silence(signal) : Promise.resolve(new Response(JSON.stringify(answer)));
  };
  const calls = makeCalls('project_1');
"""
_SENDS = """new Promise((done) => {
    const nothing = () => {};
    const outbox = makeOutbox({ calls, key: 'k', known: nothing, onRefused: nothing, onTrouble: nothing,
      onStored: () => done(asked.labels) });
    outbox.add({ item_id: 'item_1', nonce: 'nonce_1' });
    setTimeout(() => done(['still waiting']), 5000);
  })"""
_ASKS = """new Promise((done) => {
    const queue = makeQueue({ calls, busy: () => [], onTrouble: () => {}, onReady: () => done(queue.ids()) });
    queue.wet();
    setTimeout(() => done(['still waiting']), 5000);
  })"""


@pytest.mark.parametrize(("does", "expected"), [(_SENDS, ["nonce_1"] * 2), (_ASKS, ["item_2"])])
def test_a_request_that_is_never_answered_holds_nothing_up(
    blank: Page, does: str, expected: list[str]
) -> None:
    names = ("label_words.js", "label_calls.js", "label_outbox.js", "label_queue.js")
    code = "\n".join(asset(name) for name in names)
    assert blank.evaluate(f"() => {{ {code}\n {_SILENT}\n return {does}; }}") == expected


def test_markdown_takes_what_is_hostile_in_good_time(blank: Page) -> None:
    for text in ("*" * 20_000, "[" * 20_000, "> " * 5_000 + "x", "- " * 5_000, "`" * 19_999, "**a" * 6_000):
        html(blank, text)
