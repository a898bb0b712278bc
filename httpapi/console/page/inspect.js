// The inspector: one event with all it says.

import { $, announce, bytes, make, NARROW } from "./dom.js";
import { difference, linesOf, valuesOf } from "./json.js";

const LINES = 3000; // that are laid out; what is copied is all

export class Inspector {
  #values;
  #view = "payload";
  #back; // where the focus was

  constructor(back) {
    this.#back = back;
    for (const button of $("views").children) button.addEventListener("click", () => this.#show(button.dataset.view));
    $("copy").addEventListener("click", () => this.#copy());
    $("inspector-close").addEventListener("click", () => this.close());
    $("inspector").addEventListener("keydown", event => {
      if (event.key === "Escape") this.close();
    });
  }

  /** Shows an event; on a small screen only when it is opened, as it covers the list. */
  show(chosen) {
    $("nothing").hidden = Boolean(chosen);
    $("inspected").hidden = !chosen;
    if (!chosen) return this.#cover(false);
    const { event, text, cursor, open } = chosen;
    this.#values = valuesOf(text);
    $("inspected-title").textContent = [event.type, event.action, event.key].filter(Boolean).join(" · ") || "Event";
    $("facts").replaceChildren(...[
      ["id", String(event.id)],
      ["created at", event.created_at],
      ["recipient", event.recipient],
      ["dataset", event.dataset_id],
      ["principal", event.principal],
      ["payload", bytes(new TextEncoder().encode(this.#values.payload).length)],
      ["cursor", cursor],
    ].filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
    const changed = event.original !== null;
    for (const button of $("views").children) button.hidden = !changed && button.dataset.view !== "payload";
    this.#show(changed ? this.#view : "payload", changed);
    this.#cover(open);
    return undefined;
  }

  #cover(open) {
    const covers = Boolean(open) && matchMedia(NARROW).matches;
    $("inspector").classList.toggle("open", covers);
    if (covers) $("inspected-title").focus();
  }

  close() {
    $("inspector").classList.remove("open");
    this.#back();
  }

  #show(view, keep = true) {
    if (keep) this.#view = view;
    for (const button of $("views").children) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    const { payload, original } = this.#values;
    const lines = view === "difference"
      ? difference(linesOf(original), linesOf(payload))
      : linesOf(view === "original" ? original : payload).map(line => " " + line);
    const shown = lines.slice(0, LINES).map(line => make("span", { className: { "+": "new", "-": "old" }[line[0]] ?? null },
      view === "difference" ? line : line.slice(1)));
    if (lines.length > LINES) shown.push(make("em", {}, `… and ${lines.length - LINES} more lines, which Copy has`));
    $("code").replaceChildren(...shown);
  }

  /** Copies the value as it was written. */
  async #copy() {
    const text = this.#view === "original" && !$("views").children[2].hidden ? this.#values.original : this.#values.payload;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // over plain HTTP there is no clipboard
      const area = make("textarea", { value: text, className: "unseen" });
      $("inspected").append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      $("copy").focus();
    }
    $("copy").textContent = "Copied";
    announce("Copied");
    setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
  }
}
