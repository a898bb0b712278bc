// JSON as text: it is laid out, taken apart and compared without being parsed, so that what is shown is what was
// written: also numbers that JavaScript has no room for, and keys that come twice.

/** Returns the texts of the values of an event's payload and original; they come last, in this order. */
export function valuesOf(text) {
  const payload = beginOf(text);
  const end = endOf(text, payload);
  return { payload: text.slice(payload, end), original: text.slice(end + `,"original":`.length, -1) };
}

/** Returns the first characters of an event's payload; none, if it has no payload. */
export function beginning(text, most) {
  const from = beginOf(text);
  const first = text.slice(from, from + most);
  const payload = first.slice(0, endOf(first, 0));
  return payload === "null" ? "" : payload;
}

/** Returns where an event's payload begins: no string before it can hold this, as its quotes would be escaped. */
function beginOf(text) { return text.indexOf(`,"payload":`) + `,"payload":`.length; }

/** Returns where the value that begins somewhere ends. */
function endOf(text, from) {
  let depth = 0;
  let quoted = false;
  for (let i = from; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === `"`) quoted = false;
    } else if (c === `"`) quoted = true;
    else if (c === "{" || c === "[") depth++;
    else if (depth > 0 && (c === "}" || c === "]")) depth--;
    else if (depth === 0 && (c === "," || c === "}" || c === "]")) return i;
  }
  return text.length;
}

const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;

/** Returns the lines of a value: one for each member and element. */
export function linesOf(text) {
  const lines = [];
  let line = "";
  let depth = 0;
  let before = "";
  const turn = () => {
    lines.push(line);
    line = "  ".repeat(depth);
  };
  for (const [token] of text.matchAll(tokens)) {
    const opened = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      depth--;
      if (!opened) turn();
    } else if (opened || before === ",") turn();
    line += token === ":" ? ": " : token;
    if (token === "{" || token === "[") depth++;
    before = token;
  }
  lines.push(line);
  return lines;
}

const MOST = 1_000_000; // pairs of lines that are compared; beyond it, all between the first and the last change is new

/** Returns what has become of lines: each with " ", "-" or "+" before it. */
export function difference(before, after) {
  let first = 0;
  while (first < before.length && first < after.length && before[first] === after[first]) first++;
  let last = 0;
  while (last < before.length - first && last < after.length - first && before.at(-1 - last) === after.at(-1 - last)) last++;
  const a = before.slice(first, before.length - last);
  const b = after.slice(first, after.length - last);
  return [
    ...before.slice(0, first).map(line => " " + line),
    ...(a.length * b.length > MOST ? [...a.map(line => "-" + line), ...b.map(line => "+" + line)] : changed(a, b)),
    ...before.slice(before.length - last).map(line => " " + line),
  ];
}

/** By the longest common subsequence: common[i][j] is its length from a[i] and b[j] on. */
function changed(a, b) {
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const result = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      result.push(" " + a[i++]);
      j++;
    } else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1])) result.push("-" + a[i++]);
    else result.push("+" + b[j++]);
  }
  return result;
}
