// What several parts of the page need. All text goes in as text, never as HTML: nothing that comes from the server is
// trusted with more.

export const NARROW = "(max-width: 860px)"; // as in console.css

export const $ = id => document.getElementById(id);

/** Makes an element: of properties, where null and undefined are left out, and of children, elements or texts. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Says something to who can't see the page. */
export function announce(text) { $("announcer").textContent = text; }

/** Calls work every so many milliseconds, one at a time, while the element is to be seen; the result calls it now. */
export function whileShown(element, pause, work) {
  let timer;
  let running = false;
  const shown = () => !element.hidden && !element.closest("[hidden]") && document.visibilityState === "visible";
  const turn = async () => {
    clearTimeout(timer);
    if (running || !shown()) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      timer = setTimeout(turn, pause);
    }
  };
  document.addEventListener("visibilitychange", turn);
  return turn;
}

const whole = new Intl.NumberFormat("en");

export const number = n => whole.format(n);

export const counted = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

const steps = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Says how long, in seconds, by its first two units: 1 h 5 min. */
export function lasting(seconds) {
  const first = steps.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, unit] = steps[first];
  const [next, nextUnit] = steps[first + 1] ?? [];
  const rest = next ? Math.floor(seconds % size / next) : 0;
  return `${Math.floor(seconds / size)} ${unit}` + (rest > 0 ? ` ${rest} ${nextUnit}` : "");
}

/** Says how many bytes. */
export function bytes(n) {
  if (n < 1024) return `${number(n)} B`;
  const step = n < 1024 ** 2 ? 1 : 2;
  return `${(n / 1024 ** step).toFixed(1)} ${["", "KiB", "MiB"][step]}`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** Says the time of day, in milliseconds. */
export function clock(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  return `${clockFormat.format(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}
