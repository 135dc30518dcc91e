// Writing an answer: for the edit task it is the label, for the others it goes along with one. What is being
// written is kept in the browser's storage, so that a reload or a login loses nothing.
function makeEditor({ key, onChange }) {
  let item = null;
  let task = "";

  function save() {
    try {
      const draft = { item: item.id, better: $("better").value, comment: $("comment").value };
      localStorage.setItem(key, JSON.stringify(draft));
    } catch (error) { /* private mode: it stays while the page is open */ }
  }
  function forget() {
    try { localStorage.removeItem(key); } catch (error) { /* nothing was kept */ }
  }
  function saved() {
    try {
      const draft = JSON.parse(localStorage.getItem(key));
      return draft && draft.item === item.id ? draft : null;
    } catch (error) { return null; }
  }
  function told() {
    onChange($("better").value, $("comment").value);
  }
  function start(words) {
    $("better").value = words;
    save();
    told();
    $("better").focus();
  }
  function starts() {
    const from = (text, words) => make("button", { type: "button", class: "td-plain", text, on: { click: () => start(words) } });
    const made = item.b.length
      ? [from("Start from A", spoken(item.a)), from("from B", spoken(item.b))]
      : [from(task === "edit" ? "Start again" : "Start from the answer", spoken(item.a))];
    $("starts").replaceChildren(...made, from("empty", ""));
  }
  // A property, so that the editor of an earlier project lets go.
  $("editor").oninput = () => { if (item) { save(); told(); } };

  return {
    // A fresh item; `earlier` is a label of it, whose text is taken up.
    show(next, kind, earlier) {
      item = next;
      task = kind;
      const draft = saved() || (earlier && { better: earlier.better_answer || "", comment: earlier.comment || "" });
      $("better").value = draft ? draft.better : task === "edit" ? spoken(item.a) : "";
      $("comment").value = draft ? draft.comment : "";
      $("editor").hidden = task !== "edit" && !(saved() && draft.better);
      $("editor-actions").hidden = task === "edit";
      $("editor-title").textContent = task === "edit" ? "Your answer" : "A better answer";
      starts();
      told();
    },
    open() {
      $("editor").hidden = false;
      $("better").focus();
      $("editor").scrollIntoView({ block: "nearest" });
    },
    keep() {
      if (task !== "edit") $("editor").hidden = true;
      if (document.activeElement) document.activeElement.blur();
    },
    discard() {
      $("better").value = $("comment").value = "";
      forget();
      told();
      this.keep();
    },
    done: forget,
  };
}
