// Words of the annotation card, and the one way in which it makes elements: text enters as text.
const VERDICT_WORDS = {
  a: "A is better", b: "B is better", tie: "Tie", both_bad: "Both bad",
  accept: "Accepted", reject: "Rejected", edited: "Rewritten", skip: "Skipped",
};
const STRENGTH_WORDS = ["", "slightly", "clearly", "much"];
const SKIP_REASONS = [
  "I cannot tell what is asked",
  "I do not know enough about it",
  "It is harmful or private",
  "The text is broken or in another language",
];

// make("button", { class: "td-plain", text: "Undo", act: "undo" }, ...children); `on` holds listeners.
function make(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  const { text, on, ...attributes } = given;
  Object.entries(attributes).forEach(([name, value]) => {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  });
  if (text != null) made.textContent = text;
  Object.entries(on || {}).forEach(([name, listener]) => made.addEventListener(name, listener));
  made.append(...children);
  return made;
}

// What a label says, in words: "A is better, clearly", "A 4, B 2".
function said(label) {
  if (label.rating_a) return label.rating_b ? `A ${label.rating_a}, B ${label.rating_b}` : `${label.rating_a} of 5`;
  const words = VERDICT_WORDS[label.verdict] || "";
  const more = label.verdict === "skip" ? label.reason : STRENGTH_WORDS[label.strength || 0];
  return more ? `${words}, ${label.verdict === "skip" ? `"${more}"` : more}` : words;
}

const counted = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many || `${one}s`}`;
const spoken = (messages) => messages.map((message) => message.content).join("\n\n");
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

// randomUUID exists on HTTPS and localhost only.
function nonce() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
