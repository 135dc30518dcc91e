// Words that stand in one answer only, by the longest common subsequence; null where that is too much work.
// Gives { a: [[words, only], …], b: … }: pieces that joined are the text, with whether the other lacks them.
const MOST_CELLS = 4e6;     // of the table that compares two answers

function differences(a, b) {
  const [left, right] = [a, b].map((words) => words.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || []);
  let head = 0;
  while (head < left.length && head < right.length && left[head] === right[head]) head += 1;
  const [m, n] = [left.length - head, right.length - head];
  if (m * n > MOST_CELLS) return null;
  const width = n + 1;
  const table = new Uint32Array((m + 1) * width);
  for (let i = m - 1; i >= 0; i -= 1) {
    for (let j = n - 1; j >= 0; j -= 1) {
      table[i * width + j] = left[head + i] === right[head + j]
        ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const found = { a: [], b: [] };
  const add = (side, word, only) => {
    const last = found[side][found[side].length - 1];
    if (last && last[1] === only) last[0] += word; else found[side].push([word, only]);
  };
  left.slice(0, head).forEach((word) => { add("a", word, false); add("b", word, false); });
  let [i, j] = [0, 0];
  while (i < m || j < n) {
    if (i < m && j < n && left[head + i] === right[head + j]) {
      add("a", left[head + i], false);
      add("b", right[head + j], false);
      i += 1;
      j += 1;
    } else if (j >= n || (i < m && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      add("a", left[head + i], true);
      i += 1;
    } else {
      add("b", right[head + j], true);
      j += 1;
    }
  }
  return found;
}
