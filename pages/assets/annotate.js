// The annotation card: keys and buttons, and the project that the address names. What they do is the desk's.
const TASK_KEYS = {
  preference: { 1: "a", 2: "b", 3: "tie", 4: "both_bad" },
  accept: { 1: "accept", 2: "reject" },
  edit: { 1: "fine" },
  rating: {},
};
const KEYS = { s: "skip", u: "undo", e: "edit", d: "differences", g: "guideline", h: "history", "?": "help", enter: "store" };
const VERDICTS = new Set(["a", "b", "tie", "both_bad", "accept", "reject", "fine"]);
const TYPING = "input, textarea, select, [contenteditable]:not([contenteditable=false])";
const SCROLLS = "[data-part=prompt], [data-part=a], [data-part=b], [data-part=guideline]";
const HEARTBEAT_MS = 5000;

let desk = null;
let wanted = "";            // the project that is open or on its way

function act(name) {
  if (name === "guideline") toggleGuideline($("guideline").hidden);
  else if (name === "help") openDialog("help");
  else if (!desk) return;
  else if (name === "undo") desk.undo();
  else if (name === "history") openHistory(desk);
  else if (!desk.current) return;
  else if (VERDICTS.has(name)) (name.length === 1 ? desk.judge : desk.give)(name);
  else if (name === "store") desk.store();
  else if (name === "skip") openSkip(desk.skip);
  else if (name === "edit") desk.editor.open();
  else if (name === "keep") desk.editor.keep();
  else if (name === "discard") desk.editor.discard();
  else if (name === "leave") desk.leave();
  else if (name === "differences" && desk.current.b.length) {
    desk.marking = !desk.marking;
    drawAnswers(desk);
  }
}

// ---- keys ----
// Arrows: before choosing they lean or change the side, after choosing they say by how much.
function arrow(key) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (desk.project.task === "rating" && step && desk.current && desk.current.b.length) {
    desk.choice.side = step < 0 ? "a" : "b";
    drawChoice(desk);
    return true;
  }
  if (desk.project.task !== "preference") return false;
  if (step && desk.current) {
    const from = desk.choice.lean || 0;
    desk.lean(Math.max(-3, Math.min(3, from + step)));
    return true;
  }
  if (step || !desk.last || !["a", "b"].includes(desk.last.verdict)) return false;
  const strength = (desk.last.strength || 0) + (key === "ArrowUp" ? 1 : -1);
  if (strength <= 3) desk.amend(Math.max(0, strength) || null);
  return true;
}

// Keys while somebody writes: Ctrl Enter stores or keeps, Esc goes back to the card.
function whileTyping(event) {
  const inEditor = event.target.closest("[data-part=editor]");
  if (!inEditor || event.isComposing || !element.contains(inEditor)) return;
  const store = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (!store && event.key !== "Escape") return;
  event.preventDefault();
  if (store && desk.project.task === "edit") desk.store();
  desk.editor.keep();
}

function onKey(event) {
  if (!desk || dialogOpen() || !element.offsetParent || !tandem.shown("annotate")) return;
  const target = event.target.closest ? event.target : document.body;
  if (target.closest(TYPING)) { whileTyping(event); return; }
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  // Enter presses the button that has the focus; a tab strip and a box that scrolls keep their arrows.
  if (event.key === "Enter" && target.closest("button, a, summary")) return;
  if (event.key.startsWith("Arrow")) {
    const scrolls = target.closest(SCROLLS);
    if (target.closest("[role=tab]") || (scrolls && scrolls.scrollHeight > scrolls.clientHeight)) return;
    if (arrow(event.key)) event.preventDefault();
    return;
  }
  if (desk.project.task === "rating" && /^[1-5]$/.test(event.key)) {
    desk.rate(desk.choice.side, Number(event.key));
    event.preventDefault();
    return;
  }
  const name = TASK_KEYS[desk.project.task][event.key] || KEYS[event.key.toLowerCase()];
  if (!name) return;
  event.preventDefault();
  act(name);
}

// ---- buttons ----
function onClick(event) {
  if (event.target.closest("[data-close]")) { event.target.closest("dialog").close(); return; }
  // A tap beside a dialog closes it.
  if (event.target.matches("dialog")) { event.target.close(); return; }
  const button = event.target.closest("[data-act], [data-lean], [data-rate], [data-amend]");
  if (!button) return;
  // After a click the keys belong to the card again; who tabs here keeps the focus.
  if (event.detail) button.blur();
  const { act: name, lean, rate, amend } = button.dataset;
  if (name) act(name);
  else if (!desk || !desk.current) { if (amend && desk) desk.amend(Number(amend)); }
  else if (lean !== undefined) desk.lean(desk.choice.lean === Number(lean) ? null : Number(lean));
  else if (rate) desk.rate(rate[0], Number(rate[1]));
  else desk.amend(desk.last && desk.last.strength === Number(amend) ? null : Number(amend));
}

// ---- signs of life ----
function alive() {
  if (!desk) return;
  const now = performance.now();
  const wasIdle = desk.clock.idle(now);
  desk.clock.touch(now);
  if (wasIdle && !document.hidden) desk.beat();
}
function onVisibility() {
  if (!desk) return;
  if (document.hidden) desk.clock.hide(performance.now());
  else {
    desk.clock.show(performance.now());
    desk.outbox.hurry();
    desk.beat();
  }
}

// ---- opening and leaving a project ----
function close() {
  if (desk) desk.close();
  desk = null;
  wanted = "";
  all("dialog").forEach((dialog) => dialog.close());
  ["trouble", "notice"].forEach((part) => say(part, ""));
  drawLast(null);
  toggleGuideline(false);
}

async function open(id) {
  close();
  wanted = id;
  ["body", "done", "keys"].forEach((part) => { $(part).hidden = true; });
  $("name").textContent = $("progress").textContent = "";
  const calls = makeCalls(id);
  try {
    const [project, progress, person] = await Promise.all([calls.project(), calls.progress(), calls.person()]);
    if (wanted !== id) return;
    desk = makeDesk({ calls, project, progress, person, isOpen: () => desk !== null && desk.calls === calls });
  } catch (error) {
    if (wanted !== id) return;
    wanted = "";
    const login = `${tandem.parent()}/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    say("trouble", error.message, ...(error instanceof LoggedOut ? [make("a", { class: "td-text-link", href: login, text: "Log in" })] : []));
    return;
  }
  $("name").textContent = desk.project.name;
  fitTask(desk.project.task);
  desk.begin();
}

// The address is the truth; without a project in it the list is shown instead.
function arrive() {
  const id = tandem.query().get("project") || "";
  const here = Boolean(id);
  $("card").hidden = !here;
  document.body.classList.toggle("tandem-labelling", here);
  if (here && wanted !== id) open(id);
  if (!here && (desk || wanted)) close();
}

document.addEventListener("keydown", onKey);
element.addEventListener("click", onClick);
["keydown", "pointerdown", "pointermove", "wheel", "scroll"].forEach((name) => {
  document.addEventListener(name, alive, { capture: true, passive: true });
});
document.addEventListener("visibilitychange", onVisibility);
window.addEventListener("pagehide", close);
window.addEventListener("pageshow", (event) => { if (event.persisted) arrive(); });
setInterval(() => { if (desk) desk.beat(); }, HEARTBEAT_MS);
tandem.onVisit("annotate", arrive);
