// Lines over the last minutes, drawn as SVG.

import { make } from "./dom.js";

const KEPT = 150; // points
const HEIGHT = 150;
const LEFT = 52; // for what the grid says
const BOTTOM = 18;
const TOP = 8;

const svg = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

export class Chart {
  #format;
  #pause;
  #points = []; // { name: number or null }, the newest last
  #names = [];
  #drawing;
  #legend = make("ul", { className: "legend" });
  element;

  /** A chart with a title; format words a number; there is a point every so many milliseconds. */
  constructor(title, about, format, pause) {
    this.#format = format;
    this.#pause = pause;
    this.#drawing = svg("svg", { role: "img", height: HEIGHT });
    this.element = make("figure", { className: "chart" }, make("figcaption", {}, make("h2", {}, title), make("p", {}, about)), this.#drawing, this.#legend);
    new ResizeObserver(() => this.#draw()).observe(this.#drawing);
  }

  /** Adds a point of each line; a line without a number has a hole. */
  push(values) {
    for (const name of Object.keys(values)) {
      if (!this.#names.includes(name)) this.#names.push(name);
    }
    this.#points.push(values);
    if (this.#points.length > KEPT) this.#points.shift();
    this.#draw();
    this.#tell(values);
  }

  clear() {
    this.#points = [];
    this.#names = [];
    this.#draw();
    this.#legend.replaceChildren();
  }

  #tell(values) {
    const texts = this.#names.map(name => [name, values[name] == null ? "–" : this.#format(values[name])]);
    this.#drawing.setAttribute("aria-label", texts.map(([name, text]) => `${name}: ${text}`).join(", "));
    this.#legend.replaceChildren(...texts.map(([name, text], i) => make("li", { className: `line-${i % 6}` }, make("span", { className: "key" }), name, make("b", {}, text))));
  }

  #draw() {
    const width = this.#drawing.clientWidth;
    if (width <= LEFT) return; // not to be seen
    const top = above(Math.max(...this.#points.flatMap(p => Object.values(p).filter(v => v != null)), 0));
    const x = i => LEFT + (width - LEFT - 4) * (KEPT - this.#points.length + i) / (KEPT - 1);
    const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const grid = [0, top / 2, top].flatMap(value => [
      svg("line", { x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, this.#format(value)),
    ]);
    const minutes = Math.round(KEPT * this.#pause / 60_000);
    const times = [svg("text", { x: LEFT, y: HEIGHT - 3 }, `${minutes} min ago`), svg("text", { x: width - 4, y: HEIGHT - 3, "text-anchor": "end" }, "now")];
    const lines = this.#names.map((name, i) => svg("path", { class: `line-${i % 6}`, d: path(this.#points.map(p => p[name]), x, y) }));
    this.#drawing.replaceChildren(...grid, ...times, ...lines);
  }
}

function path(values, x, y) {
  let d = "";
  let drawing = false;
  values.forEach((value, i) => {
    if (value == null) {
      drawing = false;
      return;
    }
    d += `${drawing ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!drawing && values[i + 1] == null) d += "h.1"; // a point alone
    drawing = true;
  });
  return d;
}

/** The next round number. */
function above(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find(n => n * power >= value) * power;
}
