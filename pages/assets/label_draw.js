// Draws what the desk holds. Nothing here changes anything but the page.
const $ = (name) => element.querySelector(`[data-part=${name}]`);
const all = (selector) => [...element.querySelectorAll(selector)];
const pressed = (act, on) => element.querySelector(`[data-act=${act}]`).setAttribute("aria-pressed", Boolean(on));

// A message with a link or a text of somebody's own under it; nothing hides the box.
function say(part, words, ...more) {
  $(part).hidden = !words;
  if (words) $(part).replaceChildren(make("span", { text: words }), ...more);
}

// Parts that belong to some tasks only say so in data-for.
function fitTask(task) {
  $("card").dataset.task = task;
  all("[data-for]").forEach((part) => { part.hidden = !part.dataset.for.split(" ").includes(task); });
}

function drawPrompt(messages) {
  $("prompt").replaceChildren(...messages.map((message) => make("div", { class: "td-message" },
    make("span", { class: "td-speaker", text: message.role.charAt(0).toUpperCase() + message.role.slice(1) }),
    make("div", { class: "td-text", text: message.content }))));
}

function fill(box, pieces) {
  box.replaceChildren(...pieces.map(([words, only]) => only ? make("mark", { text: words }) : document.createTextNode(words)));
}

function drawAnswers(desk) {
  const [a, b] = [spoken(desk.current.a), spoken(desk.current.b)];
  const marked = desk.marking && b ? differences(a, b) : null;
  fill($("a"), marked ? marked.a : [[a, false]]);
  fill($("b"), marked ? marked.b : [[b, false]]);
  const alone = !desk.current.b.length;
  $("side-b").hidden = alone;
  $("sides").classList.toggle("td-alone", alone);
  $("title-a").textContent = alone ? "Answer" : "A";
  $("differences").hidden = alone;
  pressed("differences", desk.marking);
}

function drawSuggestion(suggestion) {
  $("suggestion").hidden = !suggestion;
  if (!suggestion) return;
  const words = `${VERDICT_WORDS[suggestion.verdict] || suggestion.verdict}.`;
  $("suggestion").replaceChildren(make("span", { class: "td-tag", text: "A model's suggestion" }),
    make("span", { text: words }), make("span", { class: "td-sub", text: `From ${suggestion.model}. It may be wrong: judge for yourself.` }));
}

// The item, from the top.
function drawItem(desk) {
  ["body", "keys", "votes", "more"].forEach((part) => { $(part).hidden = false; });
  $("done").hidden = true;
  $("body").removeAttribute("aria-busy");
  drawPrompt(desk.current.prompt);
  drawAnswers(desk);
  drawSuggestion(desk.current.suggestion);
  drawChoice(desk);
  $("replacing").hidden = !desk.replacing;
  if (desk.replacing) {
    say("replacing", `You labelled this one: ${said(desk.replacing)}. A new label takes its place.`,
      make("button", { type: "button", class: "td-plain", text: "Leave it as it is", "data-act": "leave" }));
  }
  ["prompt", "a", "b"].forEach((part) => { $(part).scrollTop = 0; });
}

// What is chosen so far: the lean, the ratings, the answer that was written.
function drawChoice(desk) {
  const { lean, ratings, side } = desk.choice;
  all("[data-lean]").forEach((dot) => {
    const at = Number(dot.dataset.lean);
    dot.setAttribute("aria-checked", lean === at);
    // The way from the middle to the lean is lit.
    dot.classList.toggle("td-lit", lean != null && Math.sign(at) === Math.sign(lean) && Math.abs(at) <= Math.abs(lean));
  });
  all("[data-rate]").forEach((button) => {
    button.setAttribute("aria-checked", ratings[button.dataset.rate[0]] === Number(button.dataset.rate[1]));
  });
  const rating = desk.project.task === "rating";
  ["a", "b"].forEach((name) => $(`side-${name}`).classList.toggle("td-marked", rating && side === name && desk.current.b.length > 0));
  const written = desk.project.task !== "edit" && Boolean(desk.choice.better.trim());
  pressed("edit", written);
  $("edit-words").textContent = desk.project.task === "edit" ? "Write" : written ? "Answer written" : "Better answer";
  $("store-key").textContent = desk.project.task === "edit" ? "Ctrl Enter" : "Enter";
  $("store").classList.toggle("td-off", !desk.complete());
}

function drawLast(label) {
  $("last").hidden = !label;
  if (!label) return;
  const sided = label.verdict === "a" || label.verdict === "b";
  const amends = sided && $("card").dataset.task === "preference";
  $("last-words").textContent = amends ? `Last: ${VERDICT_WORDS[label.verdict]}` : `Last: ${said(label)}.`;
  $("amend").hidden = !amends;
  all("[data-amend]").forEach((button) => button.setAttribute("aria-pressed", label.strength === Number(button.dataset.amend)));
}

function drawProgress({ progress, outbox, streak }) {
  if (!progress) return;
  const fresh = outbox ? outbox.fresh() : 0;
  const labelled = progress.labelled + fresh;
  const left = Math.max(0, progress.available - fresh);
  const parts = [`${labelled.toLocaleString("en")} labelled`, `${left.toLocaleString("en")} left for you`];
  if (progress.skipped) parts.push(`${progress.skipped} skipped`);
  if (streak > 1) parts.push(`${streak} in this sitting`);
  const part = labelled + left ? labelled / (labelled + left) : 0;
  $("progress").textContent = parts.join(" · ");
  $("bar").style.setProperty("--part", part);
  $("bar").setAttribute("aria-valuenow", Math.round(100 * part));
}

function drawDone(title, words, actions) {
  ["body", "votes", "scale"].forEach((part) => { $(part).hidden = true; });
  $("keys").hidden = $("done").hidden = false;
  $("done-title").textContent = title;
  $("done-words").textContent = words;
  $("done-actions").replaceChildren(...actions);
}

// Where nothing is left to label, or nothing now.
function drawEnd({ project, progress }, { returnToSkipped, lookAgain }) {
  const button = (text, click) => make("button", { type: "button", class: "td-button", text, on: { click } });
  const actions = [make("a", { class: "td-button", href: "?tab=annotate", "data-go": true, text: "All projects" })];
  if (project.state !== "open") {
    const why = { preparing: "Models are still writing its items. Come back in a while.", closed: "Its lead has closed it. Your labels are kept." };
    drawDone(`${project.name} is ${project.state}.`, why[project.state] || project.problem, actions);
    return;
  }
  if (progress.skipped) actions.unshift(button(`Look again at ${progress.skipped} skipped`, returnToSkipped));
  if (progress.left && !progress.skipped) actions.unshift(button("Look again now", lookAgain));
  if (!progress.left && document.getElementById("tab-data-button")) {
    actions.push(make("a", { class: "td-button td-primary", href: "?tab=data&build=preferences", "data-go": true, text: "Build preferences" }));
  }
  const own = `You labelled ${counted(progress.labelled, "item")}. Thank you.`;
  const rest = progress.skipped ? "Look at it again, or leave it to others." : progress.left
    ? `Others are at work on the rest (${counted(progress.left, "label")} at most). What they give back comes here by itself.`
    : "Every item has the labels it needs.";
  drawDone(progress.skipped ? "Only what you skipped is left." : "Nothing is left for you here.", `${own} ${rest}`, actions);
}

// The guideline as it is now. At a first visit, and once after each change, it stands open.
function drawGuideline(project, storage) {
  const key = `tandem-guideline:${storage}`;
  let seen = null;
  try { seen = localStorage.getItem(key); } catch (error) { /* private mode: it is new each time */ }
  const box = $("guideline");
  box.replaceChildren(project.guideline ? markdown(project.guideline)
    : make("p", { class: "td-sub", text: "This project has no guideline. Judge as you would want to be answered." }));
  const isNew = Boolean(project.guideline) && seen !== String(project.guideline_version);
  if (isNew && seen !== null) {
    box.prepend(make("p", { class: "td-tag", text: `Changed since you last labelled here (version ${project.guideline_version})` }));
  }
  if (isNew) toggleGuideline(true);
  try { localStorage.setItem(key, project.guideline_version); } catch (error) { /* see above */ }
}
function toggleGuideline(open) {
  $("guideline").hidden = !open;
  element.querySelector("[data-act=guideline]").setAttribute("aria-expanded", open);
}
