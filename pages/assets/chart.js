// Charts that do not grow (see components/chart.py). Colours arrive as names of our own properties, such as
// "--tandem-a" or "--tandem-a/25" (percent opacity), and are looked up here, so both themes are served.
const part = (name) => element.querySelector(`[data-part="${name}"]`);
const nodes = new Map();     // panel id -> node

const property = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

function colour(name) {
  const [plain, percent] = name.split("/");
  const hex = property(plain);
  return percent ? `${hex}${Math.round((Number(percent) / 100) * 255).toString(16).padStart(2, "0")}` : hex;
}

// The same value with every colour looked up.
function resolved(value) {
  if (typeof value === "string") return value.startsWith("--") ? colour(value) : value;
  if (Array.isArray(value)) return value.map(resolved);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one)]));
  }
  return value;
}

const seen = () => !document.hidden && element.offsetParent !== null;
const panels = () => (props.value && props.value.panels) || [];

function draw() {
  // Shown first: what has no size yet cannot be drawn.
  part("panels").hidden = !panels().length;
  if (!window.Plotly || !seen()) return;
  const wanted = new Set(panels().map((panel) => panel.id));
  [...nodes].filter(([id]) => !wanted.has(id)).forEach(([id, node]) => {
    Plotly.purge(node);
    node.parentElement.remove();
    nodes.delete(id);
  });
  panels().forEach(drawOne);
}

function drawOne(panel) {
  const node = nodes.get(panel.id) || place(panel);
  const figure = node.parentElement;
  figure.querySelector("figcaption").textContent = panel.caption;
  node.hidden = !panel.traces.length;
  figure.classList.toggle("td-chart-empty", !panel.traces.length);
  if (!panel.traces.length) return Plotly.purge(node);
  return Plotly.react(node, resolved(panel.traces), layout(panel), config(panel));
}

function place(panel) {
  const figure = document.createElement("figure");
  figure.className = "td-chart";
  const title = document.createElement("h3");
  title.textContent = panel.title;
  const node = document.createElement("div");
  node.className = "td-chart-plot";
  // The caption says the same in words.
  node.setAttribute("aria-hidden", "true");
  const caption = document.createElement("figcaption");
  caption.className = "td-sub";
  figure.append(title, node, caption);
  part("panels").append(figure);
  nodes.set(panel.id, node);
  return node;
}

function layout(panel) {
  const ink = property("--body-text-color-subdued");
  const grid = property("--border-color-primary");
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, tickfont: { size: 11 }, automargin: true, fixedrange: true };
  const given = resolved(panel.layout || {});
  return {
    autosize: true,
    showlegend: false,
    margin: { l: 8, r: 14, t: 10, b: 30 },
    font: { family: getComputedStyle(element).fontFamily, size: 12, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hovermode: "closest",
    hoverlabel: { bgcolor: property("--block-background-fill"), bordercolor: grid, font: { size: 12, color: property("--body-text-color") } },
    shapes: given.shapes,
    annotations: given.annotations,
    xaxis: { ...axis, showgrid: false, showline: true, ...given.xaxis },
    yaxis: { ...axis, ...given.yaxis },
  };
}

function config(panel) {
  const filename = panel.title.replace(/[^\w.-]+/g, "-").toLowerCase();
  return {
    responsive: false, displaylogo: false, displayModeBar: "hover", modeBarButtons: [["toImage"]],
    toImageButtonOptions: { format: "png", scale: 2, filename },
  };
}

function resize() {
  if (!seen() || !window.Plotly) return;
  nodes.forEach((node) => node.hidden || Plotly.Plots.resize(node));
}

watch("value", draw);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && draw()).observe(element);
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
let settling;
new ResizeObserver(() => {
  clearTimeout(settling);
  settling = setTimeout(resize, 100);
}).observe(element);
draw();
