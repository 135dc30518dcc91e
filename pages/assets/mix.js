// Further datasets of a run, each with a weight (see components/recipe_form_mix.py).
const body = element.querySelector("[data-part='mix']");
const fallback = { choices: [], weight: 1, rows: [] };
let held = fallback;
let shown = "";

const make = (name, given = {}, ...inside) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
};

const number = (text) => { const read = parseFloat(text); return Number.isFinite(read) ? read : null; };

function share(weight) {
  const all = [held.weight, ...held.rows.map((row) => row[1])].reduce((sum, one) => sum + (one > 0 ? one : 0), 0);
  return weight > 0 && all > 0 ? `${Math.round((weight / all) * 100)}% of the rows` : "give a weight above 0";
}

function weigh(value, name, change) {
  const said = make("span", { class: "td-sub", "data-share": "" }, share(value));
  const field = make("input", {
    type: "number", class: "td-search", min: "0", step: "any", value: value === null ? "" : value, "aria-label": `Weight of ${name}`,
    oninput: (event) => { change(number(event.target.value)); tell(); shares(); },
  });
  return [make("label", { class: "td-mix-weight" }, make("span", { class: "td-sub" }, "Weight"), field), said];
}

function shares() {
  const weights = held.rows.length ? [held.weight, ...held.rows.map((row) => row[1])] : [];
  body.querySelectorAll("[data-share]").forEach((said, place) => (said.textContent = share(weights[place])));
}

function picker(row, place) {
  const select = make("select", {
    class: "td-search", "aria-label": `Dataset ${place + 2}`,
    onchange: (event) => { row[0] = event.target.value; tell(); draw(); focusOn("select", place); },
  });
  const known = held.choices.some(([, reference]) => reference === row[0]);
  const all = known || !row[0] ? held.choices : [[row[0], row[0]], ...held.choices];
  for (const [label, reference] of all) {
    const option = make("option", { value: reference }, label);
    option.selected = reference === row[0];
    select.append(option);
  }
  return select;
}

function line(row, place) {
  const remove = make("button", {
    type: "button", class: "td-button td-small", "aria-label": `Remove ${row[0]}`,
    onclick: () => { held.rows.splice(place, 1); if (!held.rows.length) held.weight = 1; tell(); draw(); focusOn("[data-add]", 0); },
  }, "Remove");
  return make("li", { class: "td-mix-row" }, picker(row, place), ...weigh(row[1], row[0], (value) => (row[1] = value)), remove);
}

function add() {
  const taken = new Set(held.rows.map((row) => row[0]));
  const free = held.choices.find(([, reference]) => !taken.has(reference));
  if (!free) return;
  held.rows.push([free[1], 1]);
  tell();
  draw();
  focusOn("select", held.rows.length - 1);
}

const focusOn = (selector, place) => { const found = body.querySelectorAll(selector)[place]; if (found) found.focus(); };

function draw() {
  const full = held.rows.length >= Math.min(held.choices.length, props.most);
  const button = make("button", { type: "button", class: "td-button td-small", "data-add": "", onclick: add }, "Add a dataset");
  button.disabled = full;
  const none = held.choices.length ? "" : "There is no other dataset that this stage can learn from.";
  const main = make("li", { class: "td-mix-row" }, make("span", {}, "The dataset above"), ...weigh(held.weight, "the dataset above", (value) => (held.weight = value)));
  const list = held.rows.length ? [make("ul", {}, main, ...held.rows.map(line))] : [];
  body.replaceChildren(...list, ...(none && !list.length ? [make("span", { class: "td-sub" }, none)] : [button]));
}

function tell() {
  const value = JSON.parse(JSON.stringify(held));
  shown = JSON.stringify(value);
  props.value = value;
}

function look() {
  const now = JSON.stringify(props.value || fallback);
  if (now === shown) return;
  shown = now;
  held = JSON.parse(now);
  draw();
}

watch("value", look);
look();
draw();
