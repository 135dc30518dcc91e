// Live curves of one or several runs (see components/live_plot.py for what travels and when).
const part = (name) => element.querySelector(`[data-part="${name}"]`);
const POLL_MS = 500;
const PANELS = [
  { id: "loss", title: "loss", wide: true, dashes: " (dotted: evaluation)",
    series: [["train/loss", "train", true], ["eval/loss", "evaluation", false]] },
  { id: "rate", title: "learning rate", format: ".1e", series: [["train/learning_rate", "learning rate", false]] },
  { id: "speed", title: "tokens per second", zero: true, series: [["train/tokens_per_second", "tokens/s", true]] },
  { id: "rewards", title: "reward", dashes: " (dots: rejected, dashes: margin)",
    series: [["train/rewards_chosen", "chosen", true], ["train/rewards_rejected", "rejected", true],
             ["train/rewards_margin", "margin", true]] },
  { id: "accuracy", title: "share of pairs ranked right", range: [0, 1.02],
    series: [["train/rewards_accuracy", "accuracy", true], ["eval/rewards_accuracy", "evaluation", false]] },
];

let curves = [];      // one a run: {id, name, place, epoch, cursor, live, done, columns}
let drawn = {};       // panel id -> {node, traces: [{curve, name, label, smoothed, sent, mean, weight}]}
let generation = 0;   // counts changes of the runs, so that a late answer of an earlier set is dropped
let fetching = false;
let smoothing = Number(part("smoothing").value);

// ---- what to show ----

function choose() {
  const wanted = ((props.value || {}).runs || []).map((run) => run.run_id);
  if (wanted.join() === curves.map((curve) => curve.id).join()) {
    (props.value.runs || []).forEach((run, place) => (curves[place].name = run.name));
    return;
  }
  generation += 1;
  curves = (props.value.runs || []).map((run, place) => fresh(run.run_id, run.name, place));
  clear();
  poll();
}

const fresh = (id, name, place) => (
  { id, name, place, epoch: 0, cursor: 0, live: true, done: false, columns: {} }
);

function clear() {
  Object.values(drawn).forEach((panel) => window.Plotly && Plotly.purge(panel.node));
  drawn = {};
  part("panels").replaceChildren();
  part("latest").textContent = "";
  part("empty").hidden = false;
  part("empty").textContent = curves.length ? "Waiting for the first point." : "Choose a run to see its curve.";
}

// ---- points ----

const seen = () => !document.hidden && element.offsetParent !== null;

async function poll() {
  if (fetching || !seen() || !window.Plotly) return;
  const asked = generation;
  fetching = true;
  try {
    const waiting = curves.filter((curve) => !curve.done);
    const answers = await Promise.all(waiting.map(fetchPoints));
    if (asked !== generation) return;
    const changed = answers.map((answer, n) => answer && take(waiting[n], answer)).some(Boolean);
    if (changed) draw();
    if (!Object.keys(drawn).length && curves.length && curves.every((curve) => curve.done)) {
      part("empty").textContent = "This run logged no points.";
    }
  } finally {
    fetching = false;
  }
  if (asked !== generation) poll();
}

async function fetchPoints(curve) {
  try {
    const path = `/runs/${encodeURIComponent(curve.id)}/points?cursor=${curve.cursor}&epoch=${curve.epoch}`;
    const answer = await fetch(tandem.parent() + path);
    return answer.ok ? await answer.json() : null;
  } catch (error) {
    return null;   // the server is away; the next round asks again from the same cursor
  }
}

// Add an answer to a curve; true where there is something new to draw.
function take(curve, answer) {
  if (answer.epoch !== curve.epoch) {
    // History was rewritten (a resume went back); the answer begins at the start of the new one.
    Object.assign(curve, fresh(curve.id, curve.name, curve.place), { epoch: answer.epoch });
    forget(curve);
  }
  let grown = false;
  Object.entries(answer.columns).forEach(([name, rows]) => {
    if (!rows.length) return;
    const column = (curve.columns[name] = curve.columns[name] || { x: [], y: [], about: [] });
    rows.forEach(([step, value, seconds, tokens]) => {
      column.x.push(step);
      column.y.push(value);
      column.about.push([tokens.toLocaleString("en"), clock(seconds)]);
    });
    grown = true;
  });
  curve.done = answer.live === false && answer.cursor === curve.cursor && !grown;
  curve.live = answer.live !== false;
  curve.cursor = answer.cursor;
  return grown;
}

function forget(curve) {
  Object.values(drawn).forEach((panel) => {
    if (panel.traces.some((trace) => trace.curve === curve)) panel.stale = true;
  });
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

// ---- drawing ----

const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const runColour = (place) => colour(`--tandem-run-${(place % 6) + 1}`);
const faint = (hex) => `${hex}40`;

function draw() {
  PANELS.forEach((panel) => {
    const wanted = present(panel);
    if (!wanted.length) return drop(panel);
    const known = drawn[panel.id];
    const same = known && !known.stale && !known.few && known.key === wanted.map((s) => s.key).join();
    same ? extend(panel, known) : redraw(panel, wanted);
  });
  part("empty").hidden = Object.keys(drawn).length > 0;
  say();
}

// The series of a panel that have points, in the order of the runs.
function present(panel) {
  return curves.flatMap((curve) => panel.series.flatMap(([name, label, smooth], n) => (
    curve.columns[name] ? [{ curve, name, label, smooth, n, key: `${curve.id} ${name}` }] : []
  )));
}

function drop(panel) {
  if (!drawn[panel.id]) return;
  Plotly.purge(drawn[panel.id].node);
  drawn[panel.id].node.remove();
  delete drawn[panel.id];
}

function redraw(panel, wanted) {
  const node = drawn[panel.id] ? drawn[panel.id].node : place(panel);
  const traces = wanted.flatMap((series) => {
    const smooth = series.smooth && smoothing > 0;
    const kinds = smooth ? [false, true] : [false];
    return kinds.map((smoothed) => ({ ...series, smoothed, beneath: smooth && !smoothed, sent: 0, mean: 0, weight: 0 }));
  });
  drawn[panel.id] = { node, traces, few: wanted.some(few), key: wanted.map((s) => s.key).join() };
  Plotly.react(node, traces.map((trace) => ({ ...style(trace), ...next(trace) })), layout(panel), config(panel));
  label(panel, drawn[panel.id]);
}

// Panels stand in the order of PANELS, whichever has points first.
function place(panel) {
  const node = document.createElement("div");
  node.className = panel.wide ? "td-panel td-wide" : "td-panel";
  node.dataset.panel = panel.id;
  const order = PANELS.map((p) => p.id);
  const after = [...part("panels").children].find((c) => order.indexOf(c.dataset.panel) > order.indexOf(panel.id));
  part("panels").insertBefore(node, after || null);
  return node;
}

// The points of a trace that were not drawn yet; a smoothed one is a debiased moving average.
function next(trace) {
  const column = trace.curve.columns[trace.name];
  const from = trace.sent;
  const y = [];
  for (let n = from; n < column.y.length; n += 1) {
    if (!trace.smoothed) { y.push(column.y[n]); continue; }
    trace.mean = smoothing * trace.mean + (1 - smoothing) * column.y[n];
    trace.weight = smoothing * trace.weight + (1 - smoothing);
    y.push(trace.mean / trace.weight);
  }
  trace.sent = column.y.length;
  return { x: column.x.slice(from), y, customdata: column.about.slice(from) };
}

function extend(panel, known) {
  const parts = known.traces.map((trace) => next(trace));
  const grown = parts.map((_, n) => n).filter((n) => parts[n].x.length);
  if (!grown.length) return;
  const of = (key) => grown.map((n) => parts[n][key]);
  Plotly.extendTraces(known.node, { x: of("x"), y: of("y"), customdata: of("customdata") }, grown);
  label(panel, known);
}

// A panel with one series of one run is named by its title.
const alone = (panel) => panel.series.length === 1 && !several();
const several = () => curves.length > 1;

// A line of one point is invisible without its marker.
const few = (series) => series.curve.columns[series.name].x.length < 3;

// One run: a colour a series. Several: a colour a run, and dashes for its second and third series.
function style(trace) {
  const tone = runColour(several() ? trace.curve.place : trace.n);
  const dash = several() ? ["solid", "dot", "dash"][trace.n] : "solid";
  const sparse = trace.name.startsWith("eval/") || few(trace);
  const name = several() ? `${trace.curve.name}, ${trace.label}` : trace.label;
  return {
    type: "scatter",
    mode: sparse ? "lines+markers" : "lines",
    name,
    line: { color: trace.beneath ? faint(tone) : tone, width: trace.beneath ? 1 : 2, dash },
    marker: { size: 6, color: tone },
    hoverinfo: trace.beneath ? "skip" : undefined,
    hovertemplate: trace.beneath ? undefined
      : `${escaped(name)} %{y:.4~g}<br>step %{x}, %{customdata[0]} tokens, %{customdata[1]}<extra></extra>`,
    showlegend: false,
  };
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

function layout(panel) {
  const ink = colour("--body-text-color-subdued");
  const grid = colour("--border-color-primary");
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, tickfont: { size: 11 }, automargin: true };
  const narrow = element.clientWidth < 560;
  return {
    autosize: true,
    margin: { l: 8, r: narrow || alone(panel) ? 12 : 118, t: 30, b: 34 },
    font: { family: getComputedStyle(element).fontFamily, size: 12, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    title: { text: panel.title + (several() ? panel.dashes || "" : ""), x: 0, xanchor: "left", y: 0.985, yanchor: "top", font: { size: 13, color: colour("--body-text-color") } },
    xaxis: { ...axis, showgrid: false, showline: true, title: { text: "step", font: { size: 11 }, standoff: 4 } },
    yaxis: { ...axis, tickformat: panel.format, range: panel.range, rangemode: panel.zero ? "tozero" : "normal" },
    hovermode: "closest",
    hoverlabel: { bgcolor: colour("--block-background-fill"), bordercolor: grid, font: { size: 12, color: colour("--body-text-color") } },
    uirevision: `${generation}`,
  };
}

function config(panel) {
  const main = curves[0] ? curves[0].name : "run";
  return {
    responsive: false,
    displaylogo: false,
    displayModeBar: "hover",
    modeBarButtons: [["toImage", "resetScale2d"]],
    toImageButtonOptions: { format: "png", scale: 2, filename: `${main} ${panel.title}`.replace(/[^\w.-]+/g, "-") },
  };
}

// Names at the end of each line, pushed apart where they would cover each other.
function label(panel, known) {
  const axis = known.node._fullLayout && known.node._fullLayout.yaxis;
  if (!axis || element.clientWidth < 560) return alone(panel) ? null : legend(known, true);
  // In an overlay a name stands at the solid line of its run; the dotted ones share its colour.
  const tops = known.traces.filter((trace) => !trace.beneath && (!several() || !trace.n));
  if (alone(panel)) return null;
  if (tops.length > 6) return legend(known, true);
  const ends = tops.map((trace) => {
    const data = known.node.data[known.traces.indexOf(trace)];
    return { trace, x: data.x[data.x.length - 1], y: data.y[data.y.length - 1] };
  }).filter((end) => Number.isFinite(end.y));
  ends.forEach((end) => (end.pixel = axis.l2p(end.y)));
  ends.sort((one, other) => one.pixel - other.pixel);
  ends.forEach((end, n) => (end.at = n ? Math.max(end.pixel, ends[n - 1].at + 14) : end.pixel));
  const annotations = ends.map((end) => ({
    x: 1, xref: "paper", xanchor: "left", xshift: 6, y: end.y, yshift: end.pixel - end.at, showarrow: false,
    text: escaped(short(several() ? end.trace.curve.name : end.trace.label)),
    font: { size: 12, color: runColour(several() ? end.trace.curve.place : end.trace.n) },
  }));
  return Plotly.relayout(known.node, { annotations });
}

const short = (text) => (text.length > 16 ? `${text.slice(0, 15)}…` : text);

function legend(known, shown) {
  const visible = known.traces.map((trace) => shown && !trace.beneath);
  Plotly.restyle(known.node, { showlegend: visible });
  return Plotly.relayout(known.node, { legend: { orientation: "h", y: 1.12, x: 1, xanchor: "right" }, annotations: [] });
}

// The newest values in words: for everyone, and for those who cannot see the curve.
function say() {
  const curve = curves[0];
  const words = ["train/loss", "eval/loss"].flatMap((name) => {
    const column = curve && curve.columns[name];
    if (!column) return [];
    const last = column.y.length - 1;
    return [`${name === "train/loss" ? "train" : "evaluation"} ${column.y[last].toPrecision(4)} at step ${column.x[last]}`];
  });
  part("latest").textContent = words.join(" · ");
}

// ---- controls and surroundings ----

function redrawAll() {
  Object.values(drawn).forEach((panel) => (panel.stale = true));
  if (seen() && window.Plotly) draw();
}

function download() {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  const lines = curves.flatMap((curve) => Object.entries(curve.columns).flatMap(([name, column]) => (
    column.x.map((step, n) => [curve.id, curve.name, name, step, column.y[n], ...column.about[n]].map(quoted).join(","))
  )));
  const head = "run,name,series,step,value,tokens,time";
  const file = new Blob([[head, ...lines].join("\n")], { type: "text/csv" });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(file);
  anchor.download = `${curves.map((curve) => curve.id).join("_") || "runs"}.csv`;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}

function resize() {
  if (!seen() || !window.Plotly) return;
  Object.values(drawn).forEach((panel) => Plotly.Plots.resize(panel.node));
}

part("smoothing").addEventListener("input", (event) => {
  smoothing = Number(event.target.value);
  redrawAll();
});
part("csv").addEventListener("click", download);
// A plot that starts in a hidden tab has no size: it asks and draws once it is seen.
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && (resize(), poll())).observe(element);
let settling;
new ResizeObserver(() => {
  clearTimeout(settling);
  settling = setTimeout(resize, 100);
}).observe(element);
new MutationObserver(redrawAll).observe(document.body, { attributes: true, attributeFilter: ["class"] });
watch("value", choose);
clear();
choose();
// Gradio takes the element away with its column and makes a new one later.
const beat = setInterval(() => (element.isConnected ? poll() : clearInterval(beat)), POLL_MS);
