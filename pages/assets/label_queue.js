// The items at hand: fetched ahead under leases, renewed while somebody works, given back on leaving.
const HOLD = 6;             // items to have in hand, the one on screen among them
const REFILL_AT = 4;        // ask for more when fewer are left
const LOOK_AGAIN_MS = 20000;

function makeQueue({ calls, busy, onReady, onTrouble }) {
  let buffer = [];
  const known = new Map();    // item id -> item, for an undo
  const aside = new Set();    // skipped in this sitting: offered again only when asked for
  let refilling = null;
  let open = true;
  let dry = false;            // did the last refill bring nothing?

  const held = () => new Set([...busy(), ...buffer.map((item) => item.id)]);

  async function fetchMore() {
    let items = null;
    while (!items && open) {
      const wanted = Math.max(1, HOLD - buffer.length - 1);
      try {
        // The server takes 100; those at hand matter most and stand last.
        items = await calls.next(wanted, [...held()].slice(-100));
        onTrouble(null);
      } catch (error) {
        if (!open) return;
        onTrouble(error);
        if (error instanceof Refused) { dry = true; onReady(); return; }
        await sleep(1500);
      }
    }
    if (!open) return;
    // Meanwhile something may have been judged or brought back.
    const now = held();
    const fresh = items.filter((item) => !now.has(item.id) && !aside.has(item.id));
    // What was skipped comes back where nothing else is left; it waits until it is asked for.
    const skipped = items.filter((item) => aside.has(item.id)).map((item) => item.id);
    if (skipped.length) calls.release(skipped).catch(() => {});
    fresh.forEach((item) => known.set(item.id, item));
    buffer.push(...fresh);
    dry = !fresh.length;
    onReady();
  }
  function refill() {
    if (!refilling) refilling = fetchMore().finally(() => { refilling = null; });
    return refilling;
  }
  return {
    known,
    aside,
    refill,
    isDry: () => dry && !buffer.length,
    wet() { dry = false; return refill(); },
    shift() {
      const next = buffer.shift() || null;
      if (buffer.length < REFILL_AT && !dry) refill();
      return next;
    },
    // Put items in front of the others, each once.
    put(items) {
      const ids = new Set(items.map((item) => item.id));
      items.forEach((item) => { known.set(item.id, item); aside.delete(item.id); });
      buffer = [...items, ...buffer.filter((item) => !ids.has(item.id))];
    },
    drop(lost) { buffer = buffer.filter((item) => !lost.has(item.id)); },
    ids: () => buffer.map((item) => item.id),
    close() { open = false; },
  };
}
