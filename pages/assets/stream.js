// Gradio's client opens a stream of answers with the first event that waits for one, and the server ends it
// when no event is left. An event that is sent in the moment of that ending finds the stream open, and its
// answer never comes: the button seems dead. So what the client sees here is one stream that stays open; the
// connections behind it come and go, and there is one whenever an event waits.
(() => {
  const plain = window.fetch.bind(window);
  const sent = new Set();      // events without an answer
  const answered = new Set();  // answers that came before their event's number was known
  let wake = () => {};

  window.fetch = async (input, init) => {
    const path = new URL(input.url || input, document.baseURI).pathname;
    if (path.endsWith("/queue/data")) return open(new Request(input, init));
    const answer = await plain(input, init);
    if (path.endsWith("/queue/join") && answer.ok) note((await answer.clone().json()).event_id);
    return answer;
  };

  function note(event) {
    if (answered.delete(event)) return;
    sent.add(event);
    wake();
  }

  async function open(request) {
    const first = await plain(request.clone());
    if (!first.ok || !first.body) return first;
    const body = new ReadableStream({ start: (out) => void relay(request, first, out) });
    return new Response(body, { status: first.status, headers: first.headers });
  }

  async function relay(request, connection, out) {
    try {
      for (;;) {
        await forward(connection.body, out);
        if (!sent.size) await new Promise((resolve) => (wake = resolve));
        connection = await plain(request.clone());
        if (!connection.ok) throw new Error(`The stream of answers was refused: ${connection.status}`);
      }
    } catch (error) {
      // The server is away, or the client ended the stream: what the client does then is its own.
      out.error(error);
    }
  }

  async function forward(body, out) {
    const text = body.pipeThrough(new TextDecoderStream()).getReader();
    const bytes = new TextEncoder();
    let rest = "";
    for (;;) {
      const { done, value } = await text.read();
      if (done) return;
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      const kept = messages.filter(passes).map((message) => message + "\n\n").join("");
      if (kept) out.enqueue(bytes.encode(kept));
    }
  }

  const HEAD = /^data: \{"msg":"(\w+)","event_id":(?:"(\w+)")?/;

  // Whether the client is to see a message; keeps account of what was answered.
  function passes(message) {
    const [, kind, event] = HEAD.exec(message) || [];
    if (kind === "process_completed" && event && !sent.delete(event)) answered.add(event);
    return kind !== "close_stream";
  }
})();
