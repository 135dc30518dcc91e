"""The stream of answers that Gradio's client sees, over connections that come and go (``stream.js``)."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from pages.theme import asset

pytestmark = pytest.mark.e2e

# A server by hand: ``joined(n)`` answers a join, ``say`` and ``end`` write to the newest connection.
_SERVER = """
window.connections = [];
window.fetch = async (input) => {
  const url = String(input.url || input);
  if (url.includes("/queue/join")) return new Response(JSON.stringify({ event_id: url.split("=").pop() }));
  if (window.away) throw new TypeError("away");
  let out;
  const body = new ReadableStream({ start: (one) => (out = one) });
  window.connections.push(out);
  return new Response(body);
};
const bytes = new TextEncoder();
const last = () => window.connections[window.connections.length - 1];
window.bytes = bytes; window.last = last;
window.say = (message) => last().enqueue(bytes.encode(`data: ${JSON.stringify(message)}\\n\\n`));
window.end = () => last().close();
window.joined = (event) => fetch(`http://studio/gradio_api/queue/join?event=${event}`);
const output = { data: ["close_stream"] };
window.completed = (event) => say({ msg: "process_completed", event_id: event, output });
window.listen = async () => {
  const answer = await fetch("http://studio/gradio_api/queue/data?session_hash=s");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  window.heard = [];
  (async () => {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        value.trim().split("\\n\\n").forEach((one) => heard.push(JSON.parse(one.slice(6)).event_id));
      }
      heard.push("end");
    } catch (error) { heard.push("broken"); }
  })();
};
window.pause = () => new Promise((resolve) => setTimeout(resolve, 30));
"""


def _played(browser: Browser, script: str) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.evaluate(_SERVER)
    page.evaluate(asset("stream.js"))
    found = page.evaluate(f"async () => {{ {script} }}")
    context.close()
    return found


def test_an_event_that_is_sent_while_the_stream_ends_gets_its_answer(browser: Browser) -> None:
    script = """
    await joined("one"); await listen();
    completed("one");
    await joined("two");
    say({ msg: "close_stream", event_id: null }); end();
    await pause();
    completed("two");
    await pause();
    return [heard, connections.length];
    """
    assert _played(browser, script) == [["one", "two"], 2]


def test_there_is_no_connection_while_nothing_waits(browser: Browser) -> None:
    script = """
    await joined("one"); await listen();
    completed("one"); say({ msg: "close_stream", event_id: null }); end();
    await pause();
    const resting = connections.length;
    await joined("two"); await pause();
    completed("two"); await pause();
    return [heard, resting, connections.length];
    """
    assert _played(browser, script) == [["one", "two"], 1, 2]


def test_an_answer_that_is_faster_than_its_number_leaves_nothing_waiting(browser: Browser) -> None:
    script = """
    await joined("one"); await listen();
    completed("two"); await pause(); await joined("two");
    completed("one"); end();
    await pause();
    return [heard, connections.length];
    """
    assert _played(browser, script) == [["two", "one"], 1]


def test_a_message_in_pieces_stays_whole(browser: Browser) -> None:
    script = """
    await joined("one"); await listen();
    const text = 'data: {"msg":"process_completed","event_id":"one"}\\n\\n';
    last().enqueue(bytes.encode(text.slice(0, 20))); await pause();
    const early = heard.length;
    last().enqueue(bytes.encode(text.slice(20))); await pause();
    return [early, heard];
    """
    assert _played(browser, script) == [0, ["one"]]


def test_a_server_that_is_away_is_told_to_the_client(browser: Browser) -> None:
    script = """
    await joined("one"); await listen();
    await joined("two");
    window.away = true; completed("one"); end();
    await pause();
    return heard;
    """
    assert _played(browser, script) == ["one", "broken"]
