// The adjudication inbox (see components/review_inbox.py). The next case is there at once; a decision travels
// as an event and comes back as a fresh inbox. One that did not come back is sent again under the nonce it
// was given, so it counts once. Every text goes in through textContent.
const $ = (name) => element.querySelector(`[data-part="${name}"]`);
const MIN_VIEW_MS = 400;     // a hammered key would decide what nobody has read
const RETRY_MS = 8000;

let project = "";
let cases = [];              // as the server sent them
let past = [];               // decided here, newest last: what "Back" returns to
let done = new Set();        // item ids decided here and stored
let sent = new Map();        // item id -> what was sent and is not confirmed
let current = null;
let again = false;           // is the current case one that was decided before?
let shownAt = 0;
let ratings = {};
const comments = new Map();  // what somebody wrote and has not sent

const value = () => props.value || {};
const choices = () => value().choices || [];
const rated = () => (value().rated || []).length > 0;

function nonce() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- what is there ----
function arrive() {
  if (value().project !== project) {
    project = value().project || "";
    [past, done, sent, current] = [[], new Set(), new Map(), null];
    comments.clear();
  }
  cases = value().cases || [];
  const failed = value().problem || null;
  if (failed && failed.id && sent.has(failed.id)) sent.delete(failed.id);
  sent.forEach((_, id) => {
    if (value().stored === id || !cases.some((one) => one.id === id)) { sent.delete(id); done.add(id); }
  });
  trouble(failed ? failed.words : "");
  if (failed && failed.id) done.delete(failed.id);
  const kept = current && (again || waiting().some((one) => one.id === current.id));
  if (!kept) show(waiting()[0] || null);
  else draw();
}

const waiting = () => cases.filter((one) => !done.has(one.id) && !sent.has(one.id));
const left = () => Math.max(waiting().length, (value().total || 0) - sent.size);

function show(one, decidedBefore = false) {
  keepComment();
  current = one;
  again = decidedBefore;
  ratings = {};
  shownAt = performance.now();
  draw();
  if (one) $("comment").value = comments.get(one.id) || "";
}

function keepComment() {
  if (current) comments.set(current.id, $("comment").value);
}

// ---- drawing ----
function draw() {
  const open = Boolean(value().project);
  element.querySelector(".td-judge").hidden = !open;
  if (!open) return;
  $("body").hidden = $("bar").hidden = !current;
  $("done").hidden = Boolean(current);
  $("left").textContent = current ? `${left().toLocaleString("en")} to decide` : "";
  $("guideline").textContent = value().guideline || "This project has no guideline.";
  $("back").disabled = !past.length;
  if (!current) return;
  turns($("prompt"), current.prompt);
  turns($("a"), current.a);
  turns($("b"), current.b);
  element.querySelector(".td-side-b").hidden = !current.b.length;
  element.querySelector(".td-judge-sides").classList.toggle("td-single", !current.b.length);
  $("voices").replaceChildren(...current.voices.map(voice));
  $("consensus").textContent = current.consensus;
  $("refusal").hidden = !current.refusal;
  $("refusal").textContent = current.refusal;
  $("again").hidden = !again;
  drawVerdicts();
}

// A single turn needs no speaker.
function turns(node, messages) {
  node.replaceChildren(...messages.map((message) => {
    const turn = make("div", "td-message");
    if (messages.length > 1) turn.append(make("span", "td-speaker", message.role));
    turn.append(make("div", "td-text", message.content));
    return turn;
  }));
}

function voice(one) {
  const line = make("li");
  const head = make("p", "td-judge-voice");
  head.append(make("strong", "", one.person), " ", make("span", `td-tag ${one.side ? `td-${one.side}` : ""}`, one.words));
  line.append(head);
  if (one.comment) line.append(make("p", "td-text", one.comment));
  if (one.better) {
    const details = make("details");
    details.append(make("summary", "", "Wrote a better answer"), make("div", "td-text", one.better));
    line.append(details);
  }
  return line;
}

function drawVerdicts() {
  const blocked = Boolean(current.refusal);
  const row = $("verdicts");
  row.classList.toggle("td-rated", rated());
  if (rated()) {
    row.replaceChildren(...sides().map((side) => scale(side, blocked)), confirm(blocked));
    return;
  }
  row.replaceChildren(...choices().map((choice) => {
    const button = make("button", `td-button ${choice.side ? `td-vote-${choice.side}` : ""}`);
    button.type = "button";
    button.disabled = blocked;
    button.dataset.verdict = choice.verdict;
    button.append(choice.words, " ", make("kbd", "", choice.key));
    return button;
  }));
}

const sides = () => value().rated.filter((side) => side === "a" || current.b.length);

function scale(side, blocked) {
  const box = make("fieldset", "td-judge-scale");
  box.append(make("legend", `td-${side}`, `Answer ${side.toUpperCase()}`));
  [1, 2, 3, 4, 5].forEach((number) => {
    const button = make("button", "td-button", `${number}`);
    button.type = "button";
    button.disabled = blocked;
    button.dataset.side = side;
    button.dataset.rating = number;
    button.setAttribute("aria-pressed", String(ratings[side] === number));
    box.append(button);
  });
  return box;
}

function confirm(blocked) {
  const button = make("button", "td-button td-primary");
  button.type = "button";
  button.dataset.send = "1";
  button.disabled = blocked || sides().some((side) => !ratings[side]);
  button.append("Decide ", make("kbd", "", "Enter"));
  return button;
}

function trouble(words) {
  $("trouble").hidden = !words;
  $("trouble").textContent = words;
}

// ---- deciding ----
function decide(verdict) {
  if (!current || current.refusal || performance.now() - shownAt < MIN_VIEW_MS) return;
  const decision = {
    project, item: current.id, nonce: nonce(), verdict,
    rating_a: ratings.a || null, rating_b: ratings.b || null, comment: $("comment").value.trim(),
  };
  past = [...past.filter((one) => one.id !== current.id), current];
  comments.delete(current.id);
  send(decision);
  current = null;
  $("comment").value = "";
  $("comment").blur();
  trouble("");
  show(waiting()[0] || null);
}

function send(decision) {
  sent.set(decision.item, { decision, at: Date.now() });
  trigger("decide", decision);
}

// What was sent and never answered (the network was away): the nonce makes sending it again harmless.
const beat = setInterval(() => {
  if (!element.isConnected) return clearInterval(beat);
  const late = [...sent.values()].filter((one) => Date.now() - one.at > RETRY_MS);
  if (late.length) trouble("A decision is not stored yet and is kept here. Trying again.");
  late.forEach((one) => send(one.decision));
  return undefined;
}, 2000);

function rate(side, number) {
  ratings = { ...ratings, [side]: number };
  drawVerdicts();
}

// A digit rates the first answer that has no rating yet.
function rateNext(number) {
  const side = sides().find((one) => !ratings[one]) || sides()[sides().length - 1];
  rate(side, number);
}

function move(step) {
  const order = waiting();
  if (!order.length) return;
  const at = order.findIndex((one) => current && one.id === current.id);
  show(order[(at + step + order.length) % order.length]);
}

function back() {
  if (past.length) show(past.pop(), true);
}

function guideline() {
  $("guideline").hidden = !$("guideline").hidden;
  element.querySelector("[data-act=guideline]").setAttribute("aria-expanded", String(!$("guideline").hidden));
}

const acts = { next: () => move(1), previous: () => move(-1), back, guideline, comment: () => $("comment").focus() };
const keys = { n: "next", p: "previous", u: "back", g: "guideline", c: "comment", ArrowRight: "next", ArrowLeft: "previous" };

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  const { verdict, act, side, rating, send: sending } = button.dataset;
  if (verdict) decide(verdict);
  else if (rating) rate(side, Number(rating));
  else if (sending) decide(null);
  else if (act) acts[act]();
});

const typing = (node) => node && (node.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName));

function onKey(event) {
  if (!element.isConnected) return document.removeEventListener("keydown", onKey);
  const shown = element.offsetParent !== null && tandem.shown("review") && Boolean(value().project);
  if (!shown || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return undefined;
  }
  if (event.repeat) return undefined;
  const choice = choices().find((one) => one.key === event.key);
  if (choice && current) decide(choice.verdict);
  else if (rated() && current && /^[1-5]$/.test(event.key)) rateNext(Number(event.key));
  else if (rated() && current && event.key === "Enter" && event.target.tagName !== "BUTTON") {
    if (sides().every((side) => ratings[side])) decide(null);
  } else if (keys[event.key]) acts[keys[event.key]]();
  else return undefined;
  event.preventDefault();
  return undefined;
}
document.addEventListener("keydown", onKey);

watch("value", arrive);
arrive();
