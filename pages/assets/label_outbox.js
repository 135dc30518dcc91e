// Labels on their way: sent one after the other and in order, kept in the browser's storage until the studio has
// them. A failure is tried again under the same nonce, so a label counts once; a refusal is named and let go.
// After a logout it asks `known` who is there now, so that nobody sends what another person gave.
function makeOutbox({ calls, key, known, onStored, onRefused, onTrouble }) {
  let pending = [];        // oldest first
  let sending = null;      // the label of the request under way
  let work = null;
  let open = true;
  let wake = null;
  let waiters = [];        // who wants to know when nothing is pending, or that it cannot be sent now
  let unsure = false;      // did the studio say that nobody is logged in?

  function remember() {
    try {
      if (pending.length) localStorage.setItem(key, JSON.stringify(pending));
      else localStorage.removeItem(key);
    } catch (error) { /* private mode: they are kept while the page is open */ }
  }
  function recall() {
    try { pending = JSON.parse(localStorage.getItem(key)) || []; } catch (error) { pending = []; }
  }
  const pause = (ms) => new Promise((done) => {
    wake = done;
    setTimeout(done, ms);
  });

  function tell(done) {
    waiters.forEach((waiter) => waiter(done));
    waiters = [];
  }

  async function sendAll() {
    let wait = 500;
    while (pending.length && open) {
      sending = pending[0];
      let stored = null;
      try {
        if (unsure && !(await known())) break;
        unsure = false;
        stored = await calls.label(sending);
        wait = 500;
        if (open) onTrouble(null, 0);
      } catch (error) {
        if (!open) break;
        if (!(error instanceof Refused)) {
          tell(false);
          unsure = unsure || error instanceof LoggedOut;
          onTrouble(error, pending.length);
          await pause(wait);
          wait = Math.min(wait * 2, 10000);
          continue;
        }
        onRefused(error, sending);
      }
      // Closed meanwhile: another card may write this storage now, and a retry of what is in it does no harm.
      if (!open) break;
      pending.shift();
      remember();
      if (stored) onStored(stored);
    }
    sending = null;
  }
  function flush() {
    if (!work) work = sendAll().finally(() => { work = null; tell(!pending.length); });
    return work;
  }
  return {
    recall,
    flush,
    add(label) { pending.push(label); remember(); flush(); },
    // Try at once what waits for its next attempt: somebody came back, or logged in again.
    hurry() { if (wake) wake(); },
    // The newest label that is certainly not under way yet, taken back; null if there is none.
    takeBack() {
      const last = pending[pending.length - 1];
      if (!last || last === sending) return null;
      pending.pop();
      remember();
      return last;
    },
    // Says more about a label that was just given: in place while it waits, else as one that supersedes it.
    amend(label, change) {
      const waits = pending.includes(label) && label !== sending;
      const next = waits ? Object.assign(label, change) : { ...label, ...change, nonce: nonce() };
      if (!waits) pending.push(next);
      remember();
      flush();
      return next;
    },
    // True once everything is stored or refused, false as soon as an attempt fails.
    settled: () => new Promise((done) => { waiters.push(done); flush(); }),
    items: () => pending.map((label) => label.item_id),
    fresh: () => pending.filter((label) => label.verdict !== "skip").length,
    close() { open = false; if (wake) wake(); },
  };
}
