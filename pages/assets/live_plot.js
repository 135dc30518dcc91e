// Live curves of one or several runs (see components/live_plot.py for what travels and when).
const part = (name) => element.querySelector(`[data-part="${name}"]`);
const POLL_MS = 500;
// Above this many runs only one line a run is drawn, and names stand on hover.
const FEW_RUNS = 6;
const FRAME_MS = 12;
// Evaluations are marked one by one as long as the marks do not run together.
const MOST_MARKED = 60;
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

let drawn = {};       // panel id -> {node, traces: [{curve, name, label, smoothed, sent, mean, weight}], window, fine}
let smoothing = Number(part("smoothing").value);
let restUntil = 0;

// ---- what to show ----

function choose() {
  const wanted = ((props.value || {}).runs || []).map((run) => run.run_id);
  if (wanted.join() === curves.map((curve) => curve.id).join()) {
    (props.value.runs || []).forEach((run, place) => (curves[place].name = run.name));
    return;
  }
  generation += 1;
  curves = (props.value.runs || []).map((run, place) => fresh(run.run_id, run.name, place));
  restUntil = 0;
  clear();
  poll();
}

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
  if (fetching || !seen() || !window.Plotly || performance.now() < restUntil) return;
  const asked = generation;
  fetching = true;
  try {
    const news = await fetchNews();
    if (asked !== generation) return;
    const changed = news.map(([curve, chunk, answered]) => {
      if (chunk) return take(curve, chunk, forget);
      curve.done = answered;   // the studio answered, and has no such run
      return false;
    }).some(Boolean);
    if (changed) await timed(draw);
    if (!Object.keys(drawn).length && curves.length && curves.every((curve) => curve.done)) {
      part("empty").textContent = "This run logged no points.";
    }
  } finally {
    fetching = false;
  }
  if (asked !== generation || curves.some((curve) => !curve.asked)) poll();
}

// What takes long to draw is drawn less often, and one panel a frame: the page has to answer to its reader
// meanwhile.
async function timed(...work) {
  const asked = generation;
  let spent = 0;
  for (const step of work.flatMap((one) => one())) {
    const began = performance.now();
    step();
    spent += performance.now() - began;
    if (spent > FRAME_MS) await new Promise((resolve) => setTimeout(resolve));
    if (asked !== generation) return;
  }
  restUntil = curves.every((curve) => curve.asked) ? performance.now() + 4 * spent : 0;
}

function forget(curve) {
  Object.values(drawn).forEach((panel) => {
    if (panel.traces.some((trace) => trace.curve === curve)) panel.stale = true;
    if (panel.fine) delete panel.fine[curve.id];
  });
}

// ---- zooming ----

// Zooming in asks for the finer points of that window, with half of it on each side to move about in.
function watchZoom(panel, node) {
  let settling;
  node.on("plotly_relayout", (change) => {
    const [first, last] = [change["xaxis.range[0]"], change["xaxis.range[1]"]].map(Number);
    if (!change["xaxis.autorange"] && !(last > first)) return;   // our own labels
    clearTimeout(settling);
    if (change["xaxis.autorange"]) leaveWindow(panel);
    else settling = setTimeout(() => enterWindow(panel, first, last), 200);
  });
}

async function enterWindow(panel, first, last) {
  const known = drawn[panel.id];
  const thinned = known ? known.traces.filter((trace) => trace.curve.columns[trace.name].bucket > 1) : [];
  if (!thinned.length) return;
  const [asked, pad, wanted] = [generation, (last - first) / 2, {}];
  known.window = wanted;
  const ids = [...new Set(thinned.map((trace) => trace.curve.id))];
  const answer = await fetchWindow(ids, first - pad, last + pad);
  const now = drawn[panel.id];
  if (!answer || asked !== generation || !now || now.window !== wanted) return;
  now.fine = {};
  answer.curves.forEach((chunk) => {
    now.fine[chunk.run_id] = Object.fromEntries(Object.entries(chunk.series).map(([name, series]) => {
      const column = emptyColumn();
      fill(column, series);
      return [name, column];
    }));
  });
  timed(() => [() => redraw(panel, present(panel))]);
}

function leaveWindow(panel) {
  const known = drawn[panel.id];
  const had = known && known.fine;
  if (known) known.window = known.fine = null;
  if (had) timed(() => [() => redraw(panel, present(panel))]);
}

// The points of a trace: the finer ones of the window that its panel shows, or those of the whole.
function columnOf(panel, trace) {
  const fine = drawn[panel.id] && drawn[panel.id].fine;
  return (fine && fine[trace.curve.id] && fine[trace.curve.id][trace.name]) || trace.curve.columns[trace.name];
}

// ---- drawing ----

const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
// Six curves have colours that were chosen; further ones go round the circle (see live_plot.py).
const runColour = (place) => (place < FEW_RUNS ? colour(`--tandem-run-${place + 1}`)
  : `hsl(${Math.round((place * 137.508) % 360)}, 45%, ${colour("--tandem-run-light")})`);
const faint = (hex) => `${hex}40`;

// The steps of drawing everything that is new, one a panel.
const draw = () => [placeAll, ...PANELS.map((panel) => () => drawPanel(panel)), finish];

// All panels stand before the first is drawn: they share the width.
const placeAll = () => PANELS.filter((panel) => present(panel).length).forEach(place);

function drawPanel(panel) {
  const wanted = present(panel);
  if (!wanted.length) return drop(panel);
  const known = drawn[panel.id];
  const same = known && !known.stale && !known.few && known.key === wanted.map((s) => s.key).join();
  if (same && known.fine) return undefined;   // what comes now lies beyond the window
  return same ? extend(panel, known) : redraw(panel, wanted);
}

function finish() {
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
  const before = drawn[panel.id];
  const node = place(panel);
  const crowded = curves.length > FEW_RUNS;
  const traces = wanted.flatMap((series) => {
    const smooth = series.smooth && smoothing > 0;
    const kinds = !smooth ? [false] : crowded ? [true] : [false, true];
    return kinds.map((smoothed) => ({ ...series, smoothed, beneath: smooth && !smoothed, sent: 0, mean: 0, weight: 0 }));
  });
  drawn[panel.id] = {
    node, traces, few: wanted.some(few), key: wanted.map((s) => s.key).join(),
    window: before && before.window, fine: before && before.fine,
  };
  const data = traces.map((trace) => ({ ...style(trace), ...next(trace, columnOf(panel, trace), smoothing) }));
  Plotly.react(node, data, layout(panel), config(panel));
  if (!before) watchZoom(panel, node);
  label(panel, drawn[panel.id]);
}

// Panels stand in the order of PANELS, whichever has points first.
function place(panel) {
  const there = part("panels").querySelector(`[data-panel="${panel.id}"]`);
  if (there) return there;
  const node = document.createElement("div");
  node.className = panel.wide ? "td-panel td-panel-wide" : "td-panel";
  node.dataset.panel = panel.id;
  const order = PANELS.map((p) => p.id);
  const after = [...part("panels").children].find((c) => order.indexOf(c.dataset.panel) > order.indexOf(panel.id));
  part("panels").insertBefore(node, after || null);
  return node;
}

function extend(panel, known) {
  const parts = known.traces.map((trace) => next(trace, trace.curve.columns[trace.name], smoothing));
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
  const sparse = trace.curve.columns[trace.name].x.length < MOST_MARKED && trace.name.startsWith("eval/") && curves.length <= FEW_RUNS;
  const name = several() ? `${trace.curve.name}, ${trace.label}` : trace.label;
  return {
    type: "scatter",
    mode: sparse || few(trace) ? "lines+markers" : "lines",
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
    margin: { l: 8, r: narrow || alone(panel) || curves.length > FEW_RUNS ? 12 : 118, t: 30, b: 34 },
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
  if (!axis || element.clientWidth < 560) return alone(panel) ? null : legend(known, curves.length <= FEW_RUNS);
  // In an overlay a name stands at the solid line of its run; the dotted ones share its colour.
  const tops = known.traces.filter((trace) => !trace.beneath && (!several() || !trace.n));
  if (alone(panel)) return null;
  if (tops.length > FEW_RUNS) return legend(known, curves.length <= FEW_RUNS);
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
  if (seen() && window.Plotly) timed(draw);
}

function download() {
  const file = new Blob([asCsv()], { type: "text/csv" });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(file);
  anchor.download = `${curves.slice(0, 5).map((curve) => curve.id).join("_") || "runs"}.csv`;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}

function resize() {
  if (!seen() || !window.Plotly) return;
  Object.values(drawn).forEach(({ node }) => node.offsetParent && node._fullLayout && Plotly.Plots.resize(node));
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
