// How long somebody was at work on an item, in seconds: a stretch counts while the page is visible, and
// up to 30 s after the last key, click, touch, scroll or movement. Times are milliseconds, given from outside.
const IDLE_MS = 30000;

function makeClock() {
  let worked = 0;
  let last = null;         // the last sign of life; null while the page is hidden

  function touch(now) {
    if (last === null) return;
    worked += Math.min(now - last, IDLE_MS);
    last = now;
  }
  return {
    start(now, visible) { worked = 0; last = visible ? now : null; },
    touch,
    hide(now) { touch(now); last = null; },
    show(now) { last = now; },
    idle: (now) => last === null || now - last > IDLE_MS,
    seconds(now) { touch(now); return worked / 1000; },
  };
}
