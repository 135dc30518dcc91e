// Buttons inside markup that the server made (see components/acts.py). One with data-do is one event with
// its data; one with data-ask first opens the question of that name, whose fields go with the answer.
const body = element.querySelector("[data-part='body']");
let waiting = null;    // markup that came while somebody answered a question or dragged a row
let dragged = null;

function show() {
  const html = (props.value || {}).html || "";
  if (busy()) { waiting = html; return; }
  waiting = null;
  if (body.dataset.shown === html) return;
  const kept = body.contains(document.activeElement) ? keyOf(document.activeElement) : "";
  body.dataset.shown = html;
  body.innerHTML = html;
  const again = kept && [...body.querySelectorAll("[data-do], [data-ask]")].find((one) => keyOf(one) === kept);
  if (again) again.focus({ preventScroll: true });
}

const keyOf = (one) => [one.dataset.do, one.dataset.ask, one.dataset.run, one.dataset.key].join(" ");
const busy = () => dragged || body.querySelector("[data-question]:not([hidden])");

function question(name, shown) {
  body.querySelectorAll("[data-question]").forEach((one) => (one.hidden = one.dataset.question !== name || !shown));
  const open = body.querySelector("[data-question]:not([hidden])");
  const first = open && open.querySelector("input, button");
  if (first) first.focus();
  if (!open && waiting !== null) show();
}

function act(one) {
  const asked = one.closest("[data-question]");
  const fields = asked ? [...asked.querySelectorAll("input[name]")].map((field) => [field.name, field.value]) : [];
  trigger("act", { ...one.dataset, ...Object.fromEntries(fields) });
  if (asked) question("", false);
}

element.addEventListener("click", (event) => {
  const one = event.target.closest("[data-do], [data-ask], [data-leave]");
  if (!one || !body.contains(one) || one.disabled) return;
  if (one.dataset.do) act(one);
  else if (one.dataset.ask) question(one.dataset.ask, true);
  else question("", false);
});

element.addEventListener("keydown", (event) => {
  const asked = event.target.closest("[data-question]");
  if (!asked) return;
  if (event.key === "Escape") question("", false);
  if (event.key === "Enter" && event.target.matches("input")) {
    event.preventDefault();
    asked.querySelector("[data-do]").click();
  }
});

// ---- dragging a row before another one ----

const rowAt = (event) => event.target.closest && event.target.closest("[data-drag]");

element.addEventListener("dragstart", (event) => {
  dragged = rowAt(event);
  if (!dragged) return;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.dataset.drag);
  dragged.classList.add("td-dragged");
});

element.addEventListener("dragover", (event) => {
  const over = rowAt(event);
  if (!dragged || !over) return;
  event.preventDefault();
  mark(over, below(over, event) ? "td-drop-below" : "td-drop-above");
});

element.addEventListener("drop", (event) => {
  const over = rowAt(event);
  if (!dragged || !over) return;
  event.preventDefault();
  const rows = [...body.querySelectorAll("[data-drag]")].filter((row) => row !== dragged);
  const place = rows.indexOf(over);
  if (place >= 0) {
    const before = rows[place + (below(over, event) ? 1 : 0)];
    trigger("act", { do: "move", run: dragged.dataset.drag, before: before ? before.dataset.drag : "" });
  }
});

element.addEventListener("dragend", () => {
  if (dragged) dragged.classList.remove("td-dragged");
  dragged = null;
  mark(null, "");
  if (waiting !== null) show();
});

const below = (row, event) => event.clientY > row.getBoundingClientRect().top + row.offsetHeight / 2;

function mark(row, kind) {
  body.querySelectorAll(".td-drop-above, .td-drop-below").forEach((one) => one.classList.remove("td-drop-above", "td-drop-below"));
  if (row && row !== dragged) row.classList.add(kind);
}

watch("value", show);
show();
