// The dialogs: why something is skipped, and one's own labels. A desk (label_desk.js) does what they ask for.
const HISTORY_PAGE = 12;
const dialogOpen = () => all("dialog").some((dialog) => dialog.open);

function openDialog(part) {
  if (dialogOpen()) return;
  $(part).showModal();
}

// ---- skip ----
function openSkip(skip) {
  const go = (reason) => { $("skip").close(); skip(reason); };
  $("why").value = "";
  $("reasons").replaceChildren(...SKIP_REASONS.map((reason, at) => make("button",
    { type: "button", class: "td-button", on: { click: () => go(reason) } },
    make("span", { text: reason }), make("kbd", { text: at + 1 }))));
  $("skip-go").onclick = () => go($("why").value.trim());
  $("skip").onkeydown = (event) => {
    const typing = event.target === $("why");
    const reason = !typing && !event.ctrlKey && !event.metaKey && !event.altKey && SKIP_REASONS[Number(event.key) - 1];
    if (reason) go(reason);
    else if (typing && event.key === "Enter" && !event.isComposing) go($("why").value.trim());
    else return;
    event.preventDefault();
  };
  openDialog("skip");
  $("skip-go").focus();
}

// ---- own labels ----
function when(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function openHistory(desk) {
  let oldest = "";
  let visit = 0;
  $("history-list").replaceChildren();
  $("history-actions").replaceChildren();
  $("history-words").textContent = "";
  if (desk.progress.skipped) {
    $("history-actions").append(make("button", {
      type: "button", class: "td-button", text: `Return to ${counted(desk.progress.skipped, "skipped item")}`,
      on: { click: () => { $("history").close(); desk.returnToSkipped(); } },
    }));
  }
  async function more() {
    visit += 1;
    const mine = visit;
    $("history-more").hidden = true;
    try {
      const labels = await desk.calls.labels(HISTORY_PAGE, oldest);
      if (mine !== visit || !desk.open()) return;
      if (labels.length) oldest = labels[labels.length - 1].id;
      const rows = labels.map((label) => historyRow(desk, label));
      $("history-list").append(...rows.map((row) => row.made));
      $("history-more").hidden = labels.length < HISTORY_PAGE;
      if (!$("history-list").children.length) $("history-words").textContent = "You have not labelled anything here yet.";
      for (const row of rows) await row.preview();
    } catch (error) {
      $("history-words").textContent = `Your labels could not be fetched. ${error.message}`;
    }
  }
  $("history-more").onclick = more;
  openDialog("history");
  // What is on its way belongs to the list.
  desk.outbox.settled().then(more);
}

function historyRow(desk, label) {
  const words = make("p", { class: "td-sub td-history-text", text: "" });
  const answer = make("div", { class: "td-sub td-history-others", role: "status" });
  const button = (text, click) => make("button", { type: "button", class: "td-plain", text, on: { click } });
  const change = () => { $("history").close(); desk.change(label); };
  const actions = [button(label.verdict === "skip" ? "Label it" : "Change", change)];
  if (desk.project.overlap > 1 && label.verdict !== "skip") {
    const look = button("What others said", async () => {
      const shown = await showOthers(desk, label, answer);
      // Those who do not lead (they are told no quality) keep their label from now on.
      if (shown && !desk.project.quality) actions[0].remove();
    });
    if (!desk.project.quality) look.title = "Once they are shown, your own label stays as it is";
    actions.push(look);
  }
  const made = make("li", {}, make("div", { class: "td-history-head" }, make("strong", { text: said(label) }),
    make("span", { class: "td-sub", text: when(label.labelled_at) }), ...actions), words, answer);
  if (label.comment) made.append(make("p", { class: "td-sub", text: `Comment: ${label.comment}` }));

  // A skipped item is not looked up: that would take it from others.
  async function preview() {
    if (!desk.queue.known.has(label.item_id) && label.verdict !== "skip") {
      const item = await desk.calls.item(label.item_id).catch(() => null);
      if (item) desk.queue.known.set(item.id, item);
    }
    const item = desk.queue.known.get(label.item_id);
    if (item) words.textContent = (item.prompt[item.prompt.length - 1] || { content: "" }).content.slice(0, 160);
  }
  return { made, preview };
}

async function showOthers(desk, label, box) {
  try {
    const others = (await desk.calls.others(label.item_id)).filter((other) => other.id !== label.id);
    box.replaceChildren(...others.map((other) => make("p", {
      text: `${other.annotator}: ${said(other)}${other.comment ? `. "${other.comment}"` : "."}`,
    })));
    if (!others.length) box.textContent = "Nobody else has labelled it.";
    return true;
  } catch (error) {
    box.textContent = error.message;
    return false;
  }
}
