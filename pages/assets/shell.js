// The address is the truth: ?tab=runs&run=run_… opens that tab and that row, for a click, for the
// back button and for a link that someone sent. Gradio sends the page's query with every event, so a
// page reads its part of the address on the server (pages/components/visits.py).
window.tandem = (() => {
  const listeners = {};
  const KEPT = ["__theme"];
  const button = (tab) => document.getElementById(`tab-${tab}-button`);
  const query = () => new URLSearchParams(location.search);
  const tabs = () => [...document.querySelectorAll("[role=tab][data-tab-id]")].map((one) => one.dataset.tabId);
  const tab = () => query().get("tab") || tabs()[0] || "home";
  let selecting = false;

  function select(name) {
    const found = button(name);
    if (!found || found.getAttribute("aria-selected") === "true") return;
    selecting = true;
    found.click();
    selecting = false;
    found.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  const announce = (name) => (listeners[name] || []).forEach((listener) => listener());

  function write(search, replace) {
    const next = new URLSearchParams(search);
    KEPT.forEach((key) => query().has(key) && next.set(key, query().get(key)));
    history[replace ? "replaceState" : "pushState"](null, "", `?${next}`);
  }

  // A page that is not behind this door: people stay at the first one that is.
  function stay() {
    if (!button(tab()) && tabs().length) write(`?tab=${tabs()[0]}`, true);
  }

  function arrive() {
    stay();
    select(tab());
    announce(tab());
  }

  // Go to another address of the studio; replace leaves no step for the back button.
  function go(search, { replace = false } = {}) {
    const before = tab();
    write(search, replace);
    arrive();
    if (before !== tab()) window.scrollTo({ top: 0 });
  }

  // A page that is not behind this door is behind the studio's.
  function follow(href, replace) {
    const wanted = new URLSearchParams(href).get("tab");
    if (tabs().length && !button(wanted)) location.assign(`${parent()}/studio/${href}`);
    else go(href, { replace });
  }

  // Change some parameters of the present address; an empty value removes one.
  function change(values, options) {
    const next = query();
    Object.entries(values).forEach(([key, value]) => (value ? next.set(key, value) : next.delete(key)));
    go(`?${next}`, options);
  }

  // Call listener now, if its tab is the one shown, and whenever someone arrives there.
  function onVisit(name, listener) {
    (listeners[name] = listeners[name] || []).push(listener);
    if (shown(name)) listener();
  }

  // A page that is mounted alone has no tab button and is always shown.
  const shown = (name) => !document.hidden && (!button(name) || tab() === name);

  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const pressed = event.target.closest("[role=tab][data-tab-id]");
    if (pressed && !selecting) {
      write(`?tab=${encodeURIComponent(pressed.dataset.tabId)}`, false);
      announce(tab());
    }
    // A link in a toast has lost its data attributes, but not its address.
    const link = event.target.closest('a[data-go], a[href^="?tab="]');
    if (link) {
      event.preventDefault();
      follow(link.getAttribute("href"), link.dataset.go === "replace");
    }
    if (event.target.closest("[data-theme-toggle]")) toggleTheme();
    const copied = event.target.closest("[data-copy]");
    if (copied && navigator.clipboard) {
      navigator.clipboard.writeText(copied.dataset.copy);
      copied.classList.add("td-copied");
      setTimeout(() => copied.classList.remove("td-copied"), 900);
    }
  }, true);

  // A tick box <input data-tick="with" value="run_…"> keeps its value in a list in the address.
  document.addEventListener("change", (event) => {
    const name = event.target.dataset && event.target.dataset.tick;
    if (!name) return;
    const ticked = new Set((query().get(name) || "").split(",").filter(Boolean));
    event.target.checked ? ticked.add(event.target.value) : ticked.delete(event.target.value);
    change({ [name]: [...ticked].join(",") }, { replace: true });
  });

  // A search box <input data-search="q"> keeps its text in the address, and takes out what it drops.
  let typing;
  document.addEventListener("input", (event) => {
    const { search: name, drops } = event.target.dataset || {};
    if (!name) return;
    clearTimeout(typing);
    const values = () => ({ ...(drops && { [drops]: "" }), [name]: event.target.value.trim() });
    typing = setTimeout(() => change(values(), { replace: true }), 200);
  });

  function toggleTheme() {
    const dark = document.body.classList.toggle("dark");
    const next = query();
    next.set("__theme", dark ? "dark" : "light");
    history.replaceState(null, "", `?${next}`);
    try { localStorage.setItem("tandem-theme", dark ? "dark" : "light"); } catch (error) { /* private mode */ }
  }

  function rememberedTheme() {
    let wanted = query().get("__theme");
    try { wanted = wanted || localStorage.getItem("tandem-theme"); } catch (error) { /* private mode */ }
    if (wanted === "dark" || wanted === "light") document.body.classList.toggle("dark", wanted === "dark");
  }

  // Where the parent application is: REST routes stand beside /studio, also behind a path prefix.
  const parent = () => location.pathname.replace(/\/(studio|annotate|arena)(\/.*)?$/, "");

  window.addEventListener("popstate", arrive);
  document.addEventListener("visibilitychange", () => document.hidden || announce(tab()));
  new MutationObserver((_, observer) => {
    if (!document.querySelector("[role=tab][data-tab-id]")) return;
    observer.disconnect();
    rememberedTheme();
    stay();
    select(tab());
  }).observe(document, { childList: true, subtree: true });

  return { go, change, onVisit, shown, parent, toggleTheme, query };
})();
