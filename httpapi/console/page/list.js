// The list of events: the newest first, bounded in rows and in bytes, and filled once a frame, however fast they come.

import { $, announce, clock, counted, make, number } from "./dom.js";
import { beginning } from "./json.js";

const ROWS = 1000;
const BYTES = 32 << 20; // of text, of the rows and of what waits; what is older is left out
const SEARCHED = 10_000; // characters of an event that the filter looks at
const GIST = 200; // characters of a payload in its row
const TELLING = 5_000; // milliseconds between two counts read aloud

export class EventList extends EventTarget {
  #list = $("list");
  #waiting = []; // to be shown, or to be shown on continuing; the oldest first
  #bytes = 0; // of the rows
  #waitingBytes = 0;
  #entries = new WeakMap(); // of rows
  #filter = "";
  #frame = 0;
  #total = 0;
  #missed = 0; // while paused
  #told = 0;
  #toTell = 0;
  #next = 0; // row's number
  paused = false;
  selected; // its row

  constructor() {
    super();
    this.#list.addEventListener("keydown", event => this.#key(event));
    this.#list.addEventListener("click", event => this.#click(event));
    document.addEventListener("visibilitychange", () => this.#show());
  }

  add(entry) {
    this.#total++;
    if (this.paused) this.#missed++;
    this.#push({ ...entry, size: entry.text.length });
  }

  /** A line between events: what has happened there. */
  mark(text) { this.#push({ mark: text, size: 0 }); }

  #push(entry) {
    this.#waiting.push(entry);
    this.#waitingBytes += entry.size;
    while (this.#waiting.length > ROWS || this.#waitingBytes > BYTES && this.#waiting.length > 1) this.#waitingBytes -= this.#waiting.shift().size;
    this.#show();
  }

  #show() {
    if (this.#frame || document.visibilityState === "hidden") return; // then no frame would come
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.paused) this.#flush();
      this.#count();
    });
  }

  #flush() {
    const before = this.#list.firstElementChild;
    const top = before?.offsetTop;
    const rows = document.createDocumentFragment();
    for (const entry of this.#waiting.splice(0).reverse()) rows.append(this.#row(entry));
    this.#list.prepend(rows);
    this.#bytes += this.#waitingBytes;
    this.#waitingBytes = 0;
    while (this.#list.childElementCount > ROWS || this.#bytes > BYTES && this.#list.childElementCount > 1) this.#drop(this.#list.lastElementChild);
    const scroller = $("scroller");
    if (scroller.scrollTop > 0 && before?.isConnected) scroller.scrollTop += before.offsetTop - top; // what is read stays where it is
  }

  #drop(row) {
    this.#bytes -= this.#entries.get(row).size;
    if (row === this.selected) this.#list.removeAttribute("aria-activedescendant");
    row.remove();
  }

  #row(entry) {
    const row = make("li", { id: `row-${this.#next++}` });
    this.#entries.set(row, entry);
    if (entry.mark) {
      row.className = "mark";
      row.setAttribute("role", "presentation");
      row.append(entry.mark);
      return row;
    }
    const e = entry.event;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    row.append(
      make("time", { dateTime: e.created_at, title: e.created_at }, clock(e.created_at)),
      make("span", { className: "what" }, make("b", {}, e.type || "—"), make("i", {}, e.action), make("span", {}, e.key)),
      make("span", { className: "gist" }, make("span", {}, beginning(entry.text, GIST)), e.recipient === null ? "" : make("span", { className: "to", title: "addressed to" }, e.recipient)),
    );
    row.hidden = !this.#wanted(entry);
    return row;
  }

  #wanted(entry) {
    if (!this.#filter || entry.mark) return true;
    entry.searched ??= entry.text.slice(0, SEARCHED).toLowerCase();
    return entry.searched.includes(this.#filter);
  }

  filter(text) {
    this.#filter = text.trim().toLowerCase();
    for (const row of this.#list.children) row.hidden = !this.#wanted(this.#entries.get(row));
    this.#count();
  }

  pause(paused) {
    this.paused = paused;
    this.#missed = 0;
    if (!paused) this.#flush();
    this.#count();
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#list.removeAttribute("aria-activedescendant");
    this.#bytes = this.#waitingBytes = this.#total = this.#missed = this.#toTell = this.#told = 0;
    this.selected = undefined;
    this.#count();
    this.dispatchEvent(new CustomEvent("select", { detail: undefined }));
  }

  #count() {
    const shown = this.#list.querySelectorAll("[role=option]").length;
    const found = this.#filter ? this.#list.querySelectorAll("[role=option]:not([hidden])").length : shown;
    const parts = [counted(this.#total, "event")];
    if (this.#filter) parts.push(`${number(found)} found`);
    else if (this.#total - this.#missed > shown) parts.push(`the last ${number(shown)} shown`);
    $("count").textContent = parts.join(" · ");
    $("pause").textContent = this.paused ? (this.#missed ? `Continue (${number(this.#missed)} new)` : "Continue") : "Pause";
    $("empty").hidden = this.#list.childElementCount > 0;
    this.#tell();
  }

  /** Reads aloud how many have come: not each, and not often. */
  #tell() {
    if (this.#toTell || this.#total === this.#told) return;
    this.#toTell = setTimeout(() => {
      this.#toTell = 0;
      if (this.#total > this.#told) announce(`${counted(this.#total - this.#told, "new event")}${this.paused ? ", paused" : ""}`);
      this.#told = this.#total;
    }, TELLING);
  }

  // Choosing one.

  #click(event) {
    const row = event.target.closest("[role=option]");
    if (row) this.#select(row, true);
  }

  #key(event) {
    const rows = [...this.#list.querySelectorAll("[role=option]:not([hidden])")];
    const at = rows.indexOf(this.selected);
    const to = { ArrowDown: at + 1, ArrowUp: Math.max(at, 1) - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: rows.length - 1, Enter: at, " ": at }[event.key];
    if (to === undefined || rows.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#select(rows[Math.min(Math.max(to, 0), rows.length - 1)], event.key === "Enter" || event.key === " ");
  }

  #select(row, open) {
    this.selected?.setAttribute("aria-selected", "false");
    this.selected = row;
    row.setAttribute("aria-selected", "true");
    this.#list.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
    this.dispatchEvent(new CustomEvent("select", { detail: { ...this.#entries.get(row), open } }));
  }

  focus() { this.#list.focus(); }
}
