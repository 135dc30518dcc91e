// The annotation card. Pairs are prefetched, a verdict is stored in the background, and the next pair is
// there at once. Every text goes in through textContent.
const $ = (name) => element.querySelector(`[data-part=${name}]`);
const PREFETCH = 10;        // pairs asked for at a time
const REFILL_AT = 5;        // ask for more when fewer are left
const MIN_VIEW_MS = 400;    // hammered keys would judge unread pairs
const MOST_CELLS = 4e6;     // of the table that compares two answers
const ACTIONS = { 1: "a", 2: "b", 3: "tie", 4: "both_bad", s: "skip", u: "undo", d: "differences", g: "guideline" };
const VERDICTS = new Set(["a", "b", "tie", "both_bad", "skip"]);

let queue = null;           // {id, name, guideline} of the open queue
let visit = 0;              // counts openings, so that a late answer of an earlier queue is dropped
let current = null;
let buffer = [];
let known = new Map();      // item id -> item, for an undo
let setAside = new Set();   // skipped in this sitting: offered again only when asked for
let pending = [];           // labels that are not stored yet, oldest first
let progress = null;
let streak = 0;
let shownAt = 0;
let seenSince = 0;          // when the card was last uncovered, for the active time
let seenFor = 0;
let marking = false;        // are differences marked?
let refilling = null;
let flushing = null;
let undoing = false;
let dry = false;            // did the last refill bring nothing?

const api = (path) => `${tandem.parent()}/annotation${path && `/${path}`}`;

// randomUUID exists on HTTPS and localhost only.
function nonce() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---- what the browser keeps until it is stored ----
const storageKey = () => `tandem-labels:${queue.id}`;
function remember() {
  try {
    if (pending.length) localStorage.setItem(storageKey(), JSON.stringify(pending));
    else localStorage.removeItem(storageKey());
  } catch (error) { /* private mode: they are kept while the page is open */ }
}
function recall() {
  try { return JSON.parse(localStorage.getItem(storageKey())) || []; } catch (error) { return []; }
}

// ---- requests ----
class Refused extends Error {}
async function call(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(api(path), options || {});
  if (answer.ok) return answer.json();
  const told = await answer.json().catch(() => ({}));
  const words = (told.error && told.error.message) || `The studio answered ${answer.status}.`;
  const lasting = answer.status < 500 && answer.status !== 408 && answer.status !== 429;
  throw lasting ? new Refused(words) : new Error(words);
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text || "";
}

// Sends what is pending, one after the other and in order; a failure is tried again, a refusal is named.
function flush() {
  if (!flushing) {
    const work = sendAll(visit).finally(() => { if (flushing === work) flushing = null; });
    flushing = work;
  }
  return flushing;
}
async function sendAll(mine) {
  let wait = 500;
  while (pending.length && mine === visit) {
    try {
      const stored = await call(`${queue.id}/labels`, pending[0]);
      if (mine !== visit) return;
      pending.shift();
      progress = stored.progress;
      wait = 500;
      trouble("");
    } catch (error) {
      if (mine !== visit) return;
      if (error instanceof Refused) {
        pending.shift();
        trouble(`A label was refused: ${error.message}`);
      } else {
        const many = pending.length === 1 ? "1 label is" : `${pending.length} labels are`;
        trouble(`${many} not stored yet and kept in this browser. Trying again.`);
        await sleep(wait);
        wait = Math.min(wait * 2, 10000);
      }
    }
    remember();
    drawProgress();
  }
}

// Fetches more pairs; only one fetch at a time. Once one brings nothing, the queue is dry.
function refill() {
  if (!refilling) {
    const work = fetchMore(visit).finally(() => { if (refilling === work) refilling = null; });
    refilling = work;
  }
  return refilling;
}
async function fetchMore(mine) {
  let items = null;
  let held;
  while (!items) {
    held = new Set([...setAside, ...pending.map((label) => label.item_id), ...buffer.map((item) => item.id)]);
    if (current) held.add(current.id);
    // The server takes 100; those at hand matter most and stand last.
    const after = [...held].slice(-100).map((id) => `&after=${encodeURIComponent(id)}`).join("");
    try {
      items = await call(`${queue.id}/next?count=${PREFETCH}${after}`);
    } catch (error) {
      if (mine !== visit) return;
      trouble(`The next pairs could not be fetched. Trying again. ${error.message}`);
      await sleep(1500);
    }
    if (mine !== visit) return;
  }
  // Meanwhile something may have been judged or brought back.
  [...pending.map((label) => label.item_id), ...buffer.map((item) => item.id)].forEach((id) => held.add(id));
  if (current) held.add(current.id);
  const fresh = items.filter((item) => !held.has(item.id));
  fresh.forEach((item) => known.set(item.id, item));
  buffer.push(...fresh);
  dry = !fresh.length;
  // The queue may have run empty while this was under way: the card waits for it.
  if (!current) show();
}

// ---- the card ----
const text = (messages) => messages.map((message) => message.content).join("\n\n");

function show() {
  current = buffer.shift() || null;
  if (current) draw();
  else if (dry) finish();
  else $("body").setAttribute("aria-busy", "true");
  if (buffer.length < REFILL_AT && !dry) refill();
  drawProgress();
}

function draw() {
  $("body").hidden = $("keys").hidden = $("votes").hidden = false;
  $("done").hidden = true;
  $("body").removeAttribute("aria-busy");
  const prompt = $("prompt");
  prompt.replaceChildren(...current.prompt.map((message) => {
    const box = document.createElement("div");
    box.className = "td-message";
    const speaker = document.createElement("span");
    speaker.className = "td-speaker";
    speaker.textContent = message.role.charAt(0).toUpperCase() + message.role.slice(1);
    const words = document.createElement("div");
    words.className = "td-text";
    words.textContent = message.content;
    box.append(speaker, words);
    return box;
  }));
  drawAnswers();
  prompt.scrollTop = $("a").scrollTop = $("b").scrollTop = 0;
  shownAt = performance.now();
  seenFor = 0;
  seenSince = document.hidden ? 0 : shownAt;
  element.dispatchEvent(new CustomEvent("pair", { detail: current.id, bubbles: true }));
}

function drawAnswers() {
  const [a, b] = [text(current.a), text(current.b)];
  const marked = marking ? differences(a, b) : null;
  fill($("a"), marked ? marked.a : [[a, false]]);
  fill($("b"), marked ? marked.b : [[b, false]]);
}
function fill(box, pieces) {
  box.replaceChildren(...pieces.map(([words, only]) => {
    if (!only) return document.createTextNode(words);
    const mark = document.createElement("mark");
    mark.textContent = words;
    return mark;
  }));
}

// Words that stand in one answer only, by the longest common subsequence; null where that is too much work.
function differences(a, b) {
  const [left, right] = [a, b].map((words) => words.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || []);
  let head = 0;
  while (head < left.length && head < right.length && left[head] === right[head]) head += 1;
  const [m, n] = [left.length - head, right.length - head];
  if (m * n > MOST_CELLS) return null;
  const width = n + 1;
  const table = new Uint32Array((m + 1) * width);
  for (let i = m - 1; i >= 0; i -= 1) {
    for (let j = n - 1; j >= 0; j -= 1) {
      table[i * width + j] = left[head + i] === right[head + j]
        ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const found = { a: [], b: [] };
  const add = (side, word, only) => {
    const last = found[side][found[side].length - 1];
    if (last && last[1] === only) last[0] += word; else found[side].push([word, only]);
  };
  left.slice(0, head).forEach((word) => { add("a", word, false); add("b", word, false); });
  let [i, j] = [0, 0];
  while (i < m || j < n) {
    if (i < m && j < n && left[head + i] === right[head + j]) {
      add("a", left[head + i], false);
      add("b", right[head + j], false);
      i += 1;
      j += 1;
    } else if (j >= n || (i < m && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      add("a", left[head + i], true);
      i += 1;
    } else {
      add("b", right[head + j], true);
      j += 1;
    }
  }
  return found;
}

function drawProgress() {
  if (!progress) return;
  const waiting = pending.filter((label) => label.outcome !== "skip").length;
  const labelled = Math.min(progress.labelled + waiting, progress.total);
  const parts = [`${labelled.toLocaleString("en")} of ${progress.total.toLocaleString("en")} labelled`];
  if (progress.skipped) parts.push(`${progress.skipped} set aside`);
  if (streak > 1) parts.push(`${streak} in this sitting`);
  $("progress").textContent = parts.join(" · ");
  $("bar").style.setProperty("--part", progress.total ? labelled / progress.total : 0);
  $("bar").setAttribute("aria-valuenow", progress.total ? Math.round((100 * labelled) / progress.total) : 0);
}

function link(label, href, primary) {
  const made = document.createElement("a");
  made.className = `td-button${primary ? " td-primary" : ""}`;
  made.href = href;
  made.dataset.go = "";
  made.textContent = label;
  return made;
}

async function finish() {
  const mine = visit;
  await flush();
  if (mine !== visit || current) return;
  $("body").hidden = $("votes").hidden = true;
  $("keys").hidden = $("done").hidden = false;
  const aside = setAside.size;
  const actions = [link("Build preferences", "?tab=data&build=preferences", true)];
  if (aside) {
    const again = document.createElement("button");
    again.type = "button";
    again.className = "td-button";
    again.textContent = `Look again at ${aside} set aside`;
    again.addEventListener("click", () => {
      setAside.clear();
      dry = false;
      refill();
    });
    actions.unshift(again);
  }
  $("done-title").textContent = aside ? "Every other pair is labelled." : "Every pair is labelled.";
  $("done-words").textContent = "Next, build a preference dataset from the labels and train on it.";
  $("done-actions").replaceChildren(...actions);
  drawProgress();
}

// ---- what a key or button does ----
function judge(outcome) {
  const now = performance.now();
  if (!current || undoing || now - shownAt < MIN_VIEW_MS) return;
  if (seenSince) seenFor += now - seenSince;
  pending.push({
    item_id: current.id,
    outcome,
    nonce: nonce(),
    shown_at: (Date.now() - (now - shownAt)) / 1000,
    active_seconds: seenFor / 1000,
  });
  remember();
  if (outcome === "skip") setAside.add(current.id); else streak += 1;
  current = null;
  show();
  flush();
}

async function undo() {
  if (undoing || !queue) return;
  undoing = true;
  const mine = visit;
  const key = nonce();
  try {
    // The first of the pending labels is on its way; later ones are only here.
    if (pending.length > 1) {
      const label = pending.pop();
      remember();
      await bringBack(label, mine);
      return;
    }
    await flush();
    const taken = await call(`${queue.id}/undo`, { nonce: key });
    if (mine !== visit) return;
    progress = taken.progress;
    if (!taken.label) {
      trouble("There is nothing to take back.");
      return;
    }
    trouble("");
    await bringBack(taken.label, mine);
  } catch (error) {
    if (mine === visit) trouble(`The label could not be taken back: ${error.message}`);
  } finally {
    undoing = false;
  }
}

async function bringBack(label, mine) {
  const id = label.item_id;
  if (label.outcome !== "skip") streak = Math.max(0, streak - 1);
  setAside.delete(id);
  if (!known.has(id)) {
    // Labelled in an earlier sitting: it is free again, so the server offers it.
    const held = [...buffer, ...(current ? [current] : [])].map((item) => `after=${encodeURIComponent(item.id)}`);
    (await call(`${queue.id}/next?count=50&${held.join("&")}`)).forEach((item) => known.set(item.id, item));
  }
  if (mine !== visit || !known.has(id)) return;
  buffer = buffer.filter((item) => item.id !== id);
  if (current && current.id !== id) buffer.unshift(current);
  current = known.get(id);
  draw();
  drawProgress();
}

function act(name) {
  if (VERDICTS.has(name)) judge(name);
  else if (name === "undo") undo();
  else if (name === "differences") {
    marking = !marking;
    element.querySelector("[data-act=differences]").setAttribute("aria-pressed", marking);
    if (current) drawAnswers();
  } else if (name === "guideline") {
    const box = $("guideline");
    box.hidden = !box.hidden;
    element.querySelector("[data-act=guideline]").setAttribute("aria-expanded", !box.hidden);
  }
}

const TYPING = "input, textarea, select, [contenteditable]:not([contenteditable=false])";
document.addEventListener("keydown", (event) => {
  if (!queue || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest && event.target.closest(TYPING)) return;
  if ($("card").hidden || !element.offsetParent || !tandem.shown("annotate")) return;
  const name = ACTIONS[event.key.toLowerCase()];
  if (!name) return;
  event.preventDefault();
  act(name);
});
element.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-act]");
  if (pressed) act(pressed.dataset.act);
});
document.addEventListener("visibilitychange", () => {
  const now = performance.now();
  if (document.hidden) {
    if (seenSince) seenFor += now - seenSince;
    seenSince = 0;
  } else if (current) seenSince = now;
});

// ---- opening and leaving a queue ----
function close() {
  visit += 1;
  queue = current = progress = null;
  buffer = [];
  pending = [];
  known = new Map();
  setAside = new Set();
  refilling = flushing = null;
  streak = 0;
  dry = marking = undoing = false;
  trouble("");
}

async function open(id) {
  close();
  const mine = visit;
  $("body").hidden = $("done").hidden = $("keys").hidden = true;
  $("name").textContent = "";
  try {
    const [queues, so_far] = await Promise.all([call(""), call(`${encodeURIComponent(id)}/progress`)]);
    if (mine !== visit) return;
    queue = queues.find((one) => one.id === id);
    progress = so_far;
  } catch (error) {
    if (mine === visit) trouble(error.message);
    return;
  }
  $("name").textContent = queue.name;
  $("guideline").textContent = queue.guideline || "This queue has no guideline. Choose the answer you would rather be given.";
  pending = recall();
  drawProgress();
  flush();
  if (mine === visit) show();
}

// The address is the truth; without a queue in it the chooser is shown instead.
function arrive() {
  const wanted = tandem.query().get("queue") || "";
  const here = Boolean(wanted);
  $("card").hidden = !here;
  document.body.classList.toggle("tandem-labelling", here);
  if (here && (!queue || queue.id !== wanted)) open(wanted);
  if (!here && queue) close();
}
tandem.onVisit("annotate", arrive);
