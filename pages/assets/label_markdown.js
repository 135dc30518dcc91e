// Markdown as elements, for guidelines: headings, paragraphs, lists (one inside another), quotes, rules, code,
// tables, bold, italics and links. There is no HTML in it: what looks like a tag is text, and a link leads to
// http, https or mailto or is text too.
const INLINE = /(`+)([\s\S]+?)\1|\*\*([^*\s](?:[\s\S]*?[^*\s])?)\*\*|__([^_\s](?:[\s\S]*?[^_\s])?)__|\*([^*\s](?:[^*]*[^*\s])?)\*|\b_([^_\s](?:[^_]*[^_\s])?)_\b|\[([^\]\n]+)\]\(([^()\s]+)\)/;
const SAFE_LINK = /^(https?:\/\/|mailto:)/i;
const BULLET = /^(\s*)(?:[-*+]|(\d{1,4})[.)])\s+(.*)$/;
const STARTS = /^(#{1,6}\s|```|>|\s*([-*+]|\d{1,4}[.)])\s|\s*([-*_])(\s*\3){2,}\s*$)/;
const DEEPEST = 6;

function inline(words, depth = 0) {
  const found = depth < DEEPEST && INLINE.exec(words);
  if (!found) return [document.createTextNode(words)];
  const [whole, , code, strong, strong2, em, em2, label, href] = found;
  const inner = (text) => inline(text, depth + 1);
  let made;
  if (code) made = make("code", { text: code.trim() });
  else if (strong || strong2) made = make("strong", {}, ...inner(strong || strong2));
  else if (em || em2) made = make("em", {}, ...inner(em || em2));
  else if (SAFE_LINK.test(href)) {
    made = make("a", { class: "td-text-link", href, target: "_blank", rel: "noopener noreferrer" }, ...inner(label));
  } else made = document.createTextNode(whole);
  const rest = words.slice(found.index + whole.length);
  return [document.createTextNode(words.slice(0, found.index)), made, ...(rest ? inline(rest, depth) : [])];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table(lines) {
  const row = (line, tag) => make("tr", {}, ...cells(line).map((cell) => make(tag, {}, ...inline(cell))));
  return make("table", {}, make("thead", {}, row(lines[0], "th")),
    make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td"))));
}

function list(lines, depth) {
  const indent = BULLET.exec(lines[0])[1].length;
  const number = BULLET.exec(lines[0])[2];
  const made = make(number ? "ol" : "ul", number && number !== "1" ? { start: number } : {});
  let inner = [];
  const close = () => {
    if (inner.length) made.lastChild.append(...blocks(inner, depth + 1));
    inner = [];
  };
  lines.forEach((line) => {
    const found = BULLET.exec(line);
    if (found && found[1].length <= indent) {
      close();
      made.append(make("li", {}, ...inline(found[3])));
    } else inner.push(line);
  });
  close();
  return made;
}

function blocks(lines, depth = 0) {
  const made = [];
  let at = 0;
  const take = (wanted) => {
    const from = at;
    while (at < lines.length && wanted(lines[at])) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) at += 1;
    else if (line.startsWith("```")) {
      at += 1;
      made.push(make("pre", {}, make("code", { text: take((next) => !next.startsWith("```")).join("\n") })));
      at += 1;
    } else if (heading) {
      made.push(make(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
      at += 1;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      made.push(make("hr"));
      at += 1;
    } else if (line.startsWith(">") && depth < DEEPEST) {
      const quoted = take((next) => next.startsWith(">")).map((next) => next.replace(/^> ?/, ""));
      made.push(make("blockquote", {}, ...blocks(quoted, depth + 1)));
    } else if (BULLET.test(line) && depth < DEEPEST) {
      made.push(list(take((next) => BULLET.test(next) || /^\s{2,}\S/.test(next)), depth));
    } else if (line.includes("|") && /^\s*\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?\s*)?$/.test(lines[at + 1] || "")) {
      made.push(table(take((next) => next.includes("|"))));
    } else {
      const first = at;
      made.push(make("p", {}, ...inline(take((next) => next.trim() && (at === first || !STARTS.test(next))).join("\n"))));
    }
  }
  return made;
}

function markdown(text) {
  const made = document.createDocumentFragment();
  made.append(...blocks(String(text).replace(/\r\n?/g, "\n").split("\n")));
  return made;
}
