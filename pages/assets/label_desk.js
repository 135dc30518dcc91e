// The desk: one person at one project. It holds the item on screen with what is chosen so far, and does what a
// key or a button asks for. Nothing waits for the studio: labels leave through the outbox, items come through
// the queue. `desk.open()` says whether this is still the desk that somebody sits at.
const MIN_VIEW_MS = 400;    // hammered keys would judge unread items
const LEAST_BEAT_MS = 15000;
const MOST_BEAT_MS = 60000;

const blank = () => ({ lean: null, ratings: { a: null, b: null }, side: "a", better: "", comment: "" });

// What an earlier label said, as a choice that can be changed.
function chosen(label) {
  const signs = { a: -1, b: 1, tie: 0 };
  const ratings = { a: label.rating_a || null, b: label.rating_b || null };
  const sign = signs[label.verdict];
  return { ...blank(), ratings, lean: sign === undefined || !label.strength ? (sign === 0 ? 0 : null) : sign * label.strength };
}

function makeDesk({ calls, project, progress, person, isOpen }) {
  const storage = `${person}:${project.id}`;
  const clock = makeClock();
  const troubles = { labels: null, items: null };
  let shownAt = 0;
  let beatAt = Date.now();
  let undoing = false;
  let looking = null;
  let amended = 0;              // how many stored labels stand behind the last one, each amending the one before
  const corrected = new Map();  // nonce of a correction -> the label that stands again without it

  const desk = {
    calls, project, progress, clock,
    current: null, replacing: null, last: null, choice: blank(), marking: false, streak: 0,
    open: isOpen,
  };
  const task = project.task;

  // ---- what went wrong, in words ----
  function trouble(source, error, waiting) {
    troubles[source] = error && { error, waiting };
    const found = troubles.labels || troubles.items;
    const kept = found && found.waiting ? `${counted(found.waiting, "label")} ${found.waiting === 1 ? "is" : "are"} not stored yet and kept in this browser.` : "";
    if (!found) say("trouble", "");
    else if (found.error instanceof LoggedOut) {
      const back = encodeURIComponent(location.pathname + location.search);
      say("trouble", `You are logged out. ${kept} Log in again to go on: nothing is lost. `,
        make("a", { class: "td-text-link", href: `${tandem.parent()}/login?next=${back}`, text: "Log in" }));
    } else say("trouble", kept ? `${kept} Trying again.` : `The next items could not be fetched. Trying again. ${found.error.message}`);
  }
  function refused(error, label) {
    if (!isOpen()) return;
    if (desk.last === label) { desk.last = null; amended = 0; drawLast(null); }
    const words = error instanceof LeaseLost
      ? `Somebody else finished that item while you were away, so your label was not needed. Go on with this one. (${error.message})`
      : error instanceof LabelFinal ? `Your change was not stored. ${error.message}`
      : `A label was refused: ${error.message}`;
    const wrote = [label.better_answer, label.comment].filter(Boolean);
    const text = wrote.length && make("details", {}, make("summary", { text: "What you wrote" }),
      ...wrote.map((one) => make("div", { class: "td-text", text: one })));
    say("notice", words, ...(text ? [text] : []));
  }
  async function samePerson() {
    if ((await calls.person()) === person) return true;
    // Somebody else sits here now: their card is another one, and these labels wait for whoever gave them.
    location.reload();
    return false;
  }
  function stored(answer) {
    if (!isOpen()) return;
    if (answer.progress) desk.progress = answer.progress;
    if (answer.label && answer.label.guideline_version > desk.project.guideline_version) newGuideline();
    drawProgress(desk);
  }
  async function newGuideline() {
    const found = await calls.project().catch(() => null);
    if (!found || !isOpen()) return;
    desk.project = found;
    drawGuideline(desk.project, storage);
  }

  const outbox = makeOutbox({
    calls,
    key: `tandem-labels:${storage}`,
    known: samePerson,
    onStored: stored,
    onRefused: refused,
    onTrouble: (error, waiting) => { trouble("labels", error, waiting); drawProgress(desk); },
  });
  const queue = makeQueue({
    calls,
    busy: () => [...outbox.items(), ...(desk.current ? [desk.current.id] : [])],
    onReady: () => { if (!desk.current && isOpen()) show(); },
    onTrouble: (error) => trouble("items", error, 0),
  });
  const editor = makeEditor({
    key: `tandem-draft:${storage}`,
    onChange: (better, comment) => {
      Object.assign(desk.choice, { better, comment });
      if (desk.current) drawChoice(desk);
    },
  });

  // ---- showing ----
  function show() {
    clearTimeout(looking);
    desk.replacing = null;
    desk.current = queue.shift();
    if (desk.current) place(desk.current);
    else if (queue.isDry()) finish();
    else $("body").setAttribute("aria-busy", "true");
    drawProgress(desk);
  }
  function place(item, earlier = null, isReplacing = false) {
    desk.current = item;
    desk.replacing = isReplacing ? earlier : null;
    desk.choice = earlier ? chosen(earlier) : blank();
    editor.show(item, task, earlier);
    fitTask(task);
    drawItem(desk);
    drawLast(desk.last);
    // On a phone somebody may have scrolled down to the end of the one before.
    if ($("prompt").getBoundingClientRect().top < 0) $("body").scrollIntoView({ block: "start" });
    shownAt = performance.now();
    clock.start(shownAt, !document.hidden);
    element.dispatchEvent(new CustomEvent("pair", { detail: item.id, bubbles: true }));
  }
  async function finish() {
    await outbox.settled();
    if (!isOpen() || desk.current) return;
    const fresh = await Promise.all([calls.progress(), calls.project()]).catch(() => null);
    if (!isOpen() || desk.current) return;
    if (fresh) [desk.progress, desk.project] = fresh;
    drawEnd(desk, { returnToSkipped, lookAgain });
    drawProgress(desk);
    // Others may give something back.
    if (desk.project.state === "open" && desk.progress.left) looking = setTimeout(lookAgain, LOOK_AGAIN_MS);
  }
  function lookAgain() {
    clearTimeout(looking);
    if (isOpen() && !desk.current) queue.wet();
  }

  // ---- judging ----
  function body(verdict, extra) {
    const now = performance.now();
    const { better, comment } = desk.choice;
    const shownTexts = [spoken(desk.current.a), spoken(desk.current.b)];
    const wrote = verdict !== "skip" && verdict !== "fine" && better.trim() && (task === "edit" || !shownTexts.includes(better));
    return {
      item_id: desk.current.id,
      nonce: nonce(),
      shown_at: (Date.now() - (now - shownAt)) / 1000,
      active_seconds: clock.seconds(now),
      ...(wrote && { better_answer: better }),
      ...(comment.trim() && { comment: comment.trim() }),
      ...extra,
    };
  }
  function give(verdict, extra = {}) {
    if (!desk.current || undoing || performance.now() - shownAt < MIN_VIEW_MS) return;
    const label = body(verdict, verdict ? { verdict: verdict === "fine" ? "accept" : verdict, ...extra } : extra);
    if (verdict === "skip") queue.aside.add(label.item_id);
    else desk.streak += 1;
    say("notice", "");
    editor.done();
    if (desk.replacing) corrected.set(label.nonce, desk.replacing);
    amended = 0;
    desk.current = null;
    desk.last = label;
    outbox.add(label);
    show();
    if (!desk.current) drawLast(label);
  }
  function judge(verdict) {
    const { lean } = desk.choice;
    const agrees = (verdict === "a" && lean < 0) || (verdict === "b" && lean > 0);
    give(verdict, agrees ? { strength: Math.abs(lean) } : {});
  }
  desk.complete = () => {
    if (!desk.current) return false;
    const { ratings, better } = desk.choice;
    if (task === "rating") return Boolean(ratings.a && (ratings.b || !desk.current.b.length));
    return task !== "edit" || Boolean(better.trim());
  };
  // Enter, or the button that stores.
  function store() {
    if (!desk.current || !desk.complete()) return;
    const { lean, ratings, better } = desk.choice;
    if (task === "rating") give(null, { rating_a: ratings.a, ...(ratings.b && { rating_b: ratings.b }) });
    else if (task === "edit") give(better === spoken(desk.current.a) ? "fine" : "edited");
    else if (task === "preference" && lean !== null) judge(lean < 0 ? "a" : lean > 0 ? "b" : "tie");
  }
  function lean(to) {
    desk.choice.lean = to;
    drawChoice(desk);
  }
  function rate(side, value) {
    if (!desk.current || (side === "b" && !desk.current.b.length)) return;
    desk.choice.ratings[side] = value;
    desk.choice.side = side === "a" && desk.current.b.length ? "b" : side;
    drawChoice(desk);
  }
  function amend(strength) {
    if (!desk.last || !["a", "b"].includes(desk.last.verdict)) return;
    const before = desk.last;
    desk.last = outbox.amend(before, { strength });
    if (desk.last === before) return drawLast(desk.last);
    amended += 1;
    corrected.set(desk.last.nonce, before);
    drawLast(desk.last);
  }

  // ---- going back ----
  async function undo() {
    if (undoing) return;
    undoing = true;
    const key = nonce();
    try {
      // To whoever chose a strength afterwards that is one label: all that it was stored as goes back at once.
      let again = amended;
      amended = 0;
      const waiting = outbox.takeBack();
      if (waiting && !again) {
        const standing = corrected.get(waiting.nonce);
        return await bringBack(standing || waiting, Boolean(standing));
      }
      if (waiting) again -= 1;
      if (!(await outbox.settled())) throw new Error("it is still on its way. Try again in a moment.");
      let taken = await calls.undo(key);
      for (; again > 0 && taken.label && !taken.label.withdrawn; again -= 1) taken = await calls.undo(nonce());
      if (!isOpen()) return;
      if (taken.progress) desk.progress = taken.progress;
      if (!taken.label) say("notice", "There is nothing to take back.");
      else await bringBack(taken.label, !taken.label.withdrawn);
    } catch (error) {
      if (isOpen()) say("notice", `The label could not be taken back: ${error.message}`);
    } finally {
      undoing = false;
    }
  }
  // `stands`: it is an earlier label that counts again, because its correction was taken back.
  async function bringBack(label, stands) {
    if (label.verdict !== "skip") desk.streak = Math.max(0, desk.streak - 1);
    queue.aside.delete(label.item_id);
    desk.last = null;
    const item = queue.known.get(label.item_id) || (await calls.item(label.item_id));
    if (!isOpen()) return;
    say("notice", stands ? `Your change is taken back: "${said(label)}" stands again. Undo once more to take that back.` : "");
    putBack();
    queue.drop(new Set([item.id]));
    queue.known.set(item.id, item);
    place(item, label, stands && label.verdict !== "skip");
    drawProgress(desk);
  }
  function putBack() {
    if (desk.current && !desk.replacing) queue.put([desk.current]);
  }
  async function change(label) {
    try {
      const item = await calls.item(label.item_id);
      if (!isOpen()) return;
      putBack();
      queue.drop(new Set([item.id]));
      queue.known.set(item.id, item);
      queue.aside.delete(item.id);
      place(item, label, label.verdict !== "skip");
      drawProgress(desk);
    } catch (error) {
      if (isOpen()) say("notice", `This one cannot be changed now: ${error.message}`);
    }
  }
  function leave() {
    if (!desk.replacing) return;
    editor.done();
    desk.current = null;
    show();
  }
  async function returnToSkipped() {
    try {
      await outbox.settled();
      const labels = (await calls.skipped()).slice(0, HOLD);
      const found = await Promise.all(labels.map((label) => calls.item(label.item_id).catch(() => null)));
      if (!isOpen()) return;
      const items = found.filter(Boolean);
      putBack();
      queue.put(items);
      say("notice", items.length ? "" : "Others have finished what you skipped.");
      if (items.length) show();
    } catch (error) {
      if (isOpen()) say("notice", `What you skipped could not be fetched: ${error.message}`);
    }
  }

  // ---- leases ----
  const written = () => Boolean(desk.choice.better.trim() && desk.current && desk.choice.better !== spoken(desk.current.a));
  const own = () => [...(desk.current && !desk.replacing ? [desk.current.id] : []), ...queue.ids()];
  const period = Math.min(MOST_BEAT_MS, Math.max(LEAST_BEAT_MS, (1000 * project.lease_seconds) / 3));

  // Renews while somebody works; who went away loses the items when their time is over, and that is meant.
  async function beat() {
    const now = Date.now();
    if (document.hidden || clock.idle(performance.now()) || now - beatAt < period || !own().length) return;
    const late = now - beatAt > 1000 * project.lease_seconds;
    beatAt = now;
    const asked = own();
    const kept = await calls.renew(asked).catch(() => null);
    if (!kept || !isOpen()) return;
    const lost = new Set(asked.filter((id) => !kept.includes(id)));
    // What was answered meanwhile is not lost.
    outbox.items().forEach((id) => lost.delete(id));
    queue.drop(lost);
    if (desk.current && !desk.replacing && lost.has(desk.current.id) && !written()) {
      say("notice", `${late ? "You were away for a while, and" : "It took a while, and"} this item went to somebody else. Here is the next one.`);
      desk.current = null;
      show();
    }
  }
  function close() {
    clearTimeout(looking);
    const going = own().filter((id) => !outbox.items().includes(id) && !(written() && desk.current && id === desk.current.id));
    if (going.length) calls.release(going).catch(() => {});
    outbox.close();
    queue.close();
  }

  Object.assign(desk, {
    outbox, queue, editor, show, judge, give, store, lean, rate, amend, undo, change, leave, returnToSkipped, beat, close,
    skip: (reason) => give("skip", reason ? { reason } : {}),
    begin() {
      outbox.recall();
      drawGuideline(project, storage);
      drawProgress(desk);
      outbox.flush();
      if (project.state === "open") show();
      else finish();
    },
  });
  return desk;
}
