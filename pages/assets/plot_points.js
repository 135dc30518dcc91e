// The points of the live plot: what was fetched of each run, and what to ask for next. live_plot.js draws
// them, in the same scope; pages/components/live_plot.py says what travels and when.
const NAMES = [
  "train/loss", "eval/loss", "train/learning_rate", "train/tokens_per_second", "train/rewards_chosen",
  "train/rewards_rejected", "train/rewards_margin", "train/rewards_accuracy", "eval/rewards_accuracy",
];
// Points of one metric that are drawn for all runs together, and for one of them at least and at most. A
// plot is about a thousand pixels wide: more cannot be told apart, and 50 runs have to move as one has.
const ALL_POINTS = 24000;
const [LEAST_POINTS, MOST_POINTS] = [240, 1600];

let curves = [];      // one a run: {id, name, place, epoch, cursor, live, done, renew, columns}
let generation = 0;   // counts changes of the runs, so that a late answer of an earlier set is dropped
let fetching = false;

const fresh = (id, name, place) => (
  { id, name, place, epoch: 0, cursor: 0, live: true, done: false, renew: false, asked: false, columns: {} }
);
const emptyColumn = () => ({ x: [], y: [], means: [], counts: [], about: [], bucket: 1 });
const share = () => Math.max(LEAST_POINTS, Math.min(MOST_POINTS, Math.floor(ALL_POINTS / curves.length)));

// ---- asking ----

// What is new of every run that can still change, in one request. The main run comes first and alone: its
// curve is there while the studio reads the files of the others.
async function fetchNews() {
  const first = curves.length && !curves[0].asked;
  const waiting = first ? [curves[0]] : curves.filter((curve) => !curve.done);
  waiting.forEach((curve) => (curve.asked = true));
  if (!waiting.length) return [];
  const asked = waiting.map((curve) => `${curve.id}:${curve.renew ? 0 : curve.cursor}:${curve.epoch}`);
  const answer = await ask(asked, { most: share() });
  const told = answer ? answer.curves : [];
  return waiting.map((curve) => [curve, told.find((chunk) => chunk.run_id === curve.id), Boolean(answer)]);
}

// The points of some runs between two steps.
const fetchWindow = (ids, first, last) => ask(ids, { most: share(), first, last });

async function ask(runs, values) {
  const query = new URLSearchParams(values);
  runs.forEach((run) => query.append("run", run));
  NAMES.forEach((name) => query.append("series", name));
  try {
    const answer = await fetch(`${tandem.parent()}/runs/curves?${query}`);
    return answer.ok ? await answer.json() : null;
  } catch (error) {
    return null;   // the server is away; the next round asks again from the same cursor
  }
}

// ---- taking ----

// Add an answer to a curve; true where there is something new to draw. begin(curve) is called where what
// was drawn of it is void.
function take(curve, chunk, begin) {
  if (chunk.epoch !== curve.epoch || curve.renew) {
    // History was rewritten (a resume went back), or too much has piled up: this is the whole of it.
    Object.assign(curve, fresh(curve.id, curve.name, curve.place), { epoch: chunk.epoch, asked: true });
    begin(curve);
  }
  const grown = Object.entries(chunk.series).map(([name, series]) => {
    const column = (curve.columns[name] = curve.columns[name] || emptyColumn());
    return fill(column, series);
  }).some(Boolean);
  curve.done = chunk.live === false && chunk.cursor === curve.cursor && !grown;
  curve.live = chunk.live !== false;
  curve.cursor = chunk.cursor;
  // Each answer is the choice of what is new; after many of them, the choice of the whole is smaller.
  curve.renew = Object.values(curve.columns).some((column) => column.x.length > 3 * share());
  return grown;
}

function fill(column, series) {
  series.steps.forEach((step, n) => {
    column.x.push(step);
    column.y.push(series.values[n]);
    column.means.push(series.means ? series.means[n] : series.values[n]);
    column.counts.push(series.counts ? series.counts[n] : 1);
    column.about.push([series.tokens[n].toLocaleString("en"), clock(series.seconds[n])]);
  });
  column.bucket = series.bucket;
  return series.steps.length > 0;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

// ---- handing out ----

// The points of a trace that were not drawn yet. A smoothed one is a debiased moving average of every value,
// also of those that a point only stands for: trace.mean and trace.weight carry it on.
function next(trace, column, smoothing) {
  const from = trace.sent;
  const y = [];
  for (let n = from; n < column.y.length; n += 1) {
    if (!trace.smoothed) { y.push(column.y[n]); continue; }
    const kept = smoothing ** column.counts[n];
    trace.mean = kept * trace.mean + (1 - kept) * column.means[n];
    trace.weight = kept * trace.weight + (1 - kept);
    y.push(trace.mean / trace.weight);
  }
  trace.sent = column.y.length;
  return { x: column.x.slice(from), y, customdata: column.about.slice(from) };
}

// Everything that is held, as CSV; stands_for is how many values became this point.
function asCsv() {
  const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
  const lines = curves.flatMap((curve) => Object.entries(curve.columns).flatMap(([name, column]) => (
    column.x.map((step, n) => (
      [curve.id, curve.name, name, step, column.y[n], column.counts[n], ...column.about[n]].map(quoted).join(",")
    ))
  )));
  return ["run,name,series,step,value,stands_for,tokens,time", ...lines].join("\n");
}
