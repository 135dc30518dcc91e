// Follows the log of the run whose id is the component's value (see components/log_tail.py).
const pre = element.querySelector("pre");
const FIRST_BYTES = 65536;
const MOST_CHARACTERS = 400000;
let run = "";
let offset = 0;
let busy = false;

function restart() {
  if (run === (props.value || "")) return;
  run = props.value || "";
  offset = -FIRST_BYTES;
  pre.textContent = "";
  read();
}

const seen = () => run && !document.hidden && pre.offsetParent !== null;

async function read() {
  if (busy || !seen()) return;
  busy = true;
  const asked = run;
  try {
    const answer = await fetch(`${tandem.parent()}/runs/${encodeURIComponent(asked)}/log?offset=${offset}`);
    if (!answer.ok) return;
    const chunk = await answer.json();
    if (asked === run) add(chunk);
  } catch (error) {
    // The server is away; the next round asks again from the same offset.
  } finally {
    busy = false;
  }
}

function add(chunk) {
  const following = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
  if (chunk.text) {
    pre.append(chunk.text);
    if (pre.textContent.length > MOST_CHARACTERS) pre.textContent = pre.textContent.slice(-MOST_CHARACTERS / 2);
    if (following) pre.scrollTop = pre.scrollHeight;
  }
  offset = chunk.offset;
}

watch("value", restart);
restart();
const beat = setInterval(() => (element.isConnected ? read() : clearInterval(beat)), 1000);
