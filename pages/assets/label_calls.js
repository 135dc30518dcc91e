// Requests of the annotation card. The REST routes stand beside /studio and /annotate, also behind a prefix.
class Refused extends Error {}       // asking again will not help
class LeaseLost extends Refused {}   // 409: somebody else has the item, or it is done
class LabelFinal extends Refused {}  // 409: the others' labels were shown, so one's own stays
class LoggedOut extends Error {}     // 401: kept until somebody has logged in

// A connection that died without a word, such as that of a laptop that woke up elsewhere, is never answered, and
// labels and items wait for one request at a time. So long a wait is a failure like others, and is tried again.
const ANSWER_MS = 60000;

function makeCalls(project) {
  const base = `${tandem.parent()}/annotation`;
  const own = `${base}/${encodeURIComponent(project)}`;

  async function call(path, body, options = {}) {
    const sent = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(path, { ...sent, ...options, signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const told = await answer.json().catch(() => ({}));
    const words = (told.error && told.error.message) || `The studio answered ${answer.status}.`;
    if (answer.status === 401) throw new LoggedOut("You are logged out.");
    const details = (told.error && told.error.details) || [];
    if (answer.status === 409) throw details.some((one) => one.includes("final")) ? new LabelFinal(words) : new LeaseLost(words);
    const lasting = answer.status < 500 && answer.status !== 408 && answer.status !== 429;
    throw lasting ? new Refused(words) : new Error(words);
  }
  const query = (values) => {
    const made = new URLSearchParams();
    Object.entries(values).forEach(([name, value]) => [].concat(value).forEach((one) => made.append(name, one)));
    return made;
  };
  return {
    person: async () => (await call(`${tandem.parent()}/accounts/me`)).name,
    project: () => call(own),
    progress: () => call(`${own}/progress`),
    next: (count, held) => call(`${own}/next?${query({ count, held })}`),
    item: (id) => call(`${own}/items/${encodeURIComponent(id)}`),
    others: (id) => call(`${own}/items/${encodeURIComponent(id)}/others`),
    label: (body) => call(`${own}/labels`, body),
    undo: (key) => call(`${own}/undo`, { nonce: key }),
    labels: (limit, before) => call(`${own}/labels?${query(before ? { limit, before } : { limit })}`),
    skipped: () => call(`${own}/skipped`),
    renew: (items) => call(`${own}/renew`, { items }),
    release: (items) => call(`${own}/release`, { items }, { keepalive: true }),
  };
}
