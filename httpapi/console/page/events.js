// The view of events: what is followed, and what has come of it.

import { Notifier } from "../notifier.js";
import { $, announce, make, NARROW } from "./dom.js";
import { Inspector } from "./inspect.js";
import { EventList } from "./list.js";

export class Events extends EventTarget {
  #session;
  #notifier;
  #topics = ["*.*.*"];
  #list = new EventList();
  #inspector = new Inspector(() => this.#list.focus());

  constructor(session) {
    super();
    this.#session = session;
    this.#list.addEventListener("select", ({ detail }) => this.#inspector.show(detail));
    $("filter").addEventListener("input", () => this.#list.filter($("filter").value));
    $("pause").addEventListener("click", () => this.#pause());
    $("clear").addEventListener("click", () => this.#list.clear());
    $("topic-form").addEventListener("submit", event => {
      event.preventDefault();
      this.#add();
    });
    $("mine").addEventListener("change", () => this.#follow({ cursor: this.#notifier?.cursor }));
    $("replay-form").addEventListener("submit", event => {
      event.preventDefault();
      this.#replay(new Date($("since").value));
    });
    $("quick").addEventListener("click", event => {
      const { minutes } = event.target.dataset;
      if (minutes) this.#replay(new Date(Date.now() - minutes * 60_000));
    });
    const narrow = matchMedia(NARROW);
    const unfold = () => { $("controls").open = !narrow.matches; }; // there it takes the room of the list
    narrow.addEventListener("change", unfold);
    unfold();
  }

  /** Follows from now on, or goes on where it was. */
  start() { this.#follow({ cursor: this.#notifier?.cursor }); }

  stop() { this.#notifier?.close(); }

  /** Forgets all that was shown. */
  forget() {
    this.stop();
    this.#notifier = undefined;
    this.#topics = ["*.*.*"];
    $("mine").checked = false;
    $("notices").replaceChildren();
    this.#list.clear();
  }

  reconnect() { this.#notifier?.reconnect(); }

  #follow({ cursor, since }) {
    this.stop();
    this.#showTopics();
    const notifier = this.#notifier = new Notifier({
      topics: this.#topics,
      recipient: $("mine").checked ? "me" : undefined,
      cursor,
      since,
      token: this.#session.renewed ? () => this.#session.token : this.#session.token,
    });
    const on = (type, what) => notifier.addEventListener(type, event => {
      if (notifier === this.#notifier) what(event);
    });
    on("event", ({ event, text, cursor }) => this.#list.add({ event, text, cursor }));
    on("state", ({ state, reason, text, until, status }) => this.dispatchEvent(new CustomEvent("state", { detail: { state, reason, text, until, status } })));
    on("gap", () => {
      this.#list.mark("Gap: what was committed here is not stored any more");
      this.#notice("Gap", "Some events were missed and are not stored any more. What is shown is not complete.", "warning");
    });
    on("revoked", ({ topics }) => {
      this.#topics = this.#topics.filter(topic => !topics.includes(topic));
      this.#showTopics();
      this.#notice("Access revoked", `${topics.join(", ")} may not be followed any more.`, "failure");
    });
  }

  #notice(title, text, kind) {
    const notice = make("div", { className: `notice ${kind}`, role: "status" }, make("p", {}, make("b", {}, title), " ", text));
    notice.append(make("button", { type: "button", className: "quiet small", "aria-label": `Dismiss: ${title}`, onclick: () => notice.remove() }, "✕"));
    $("notices").append(notice);
    while ($("notices").childElementCount > 3) $("notices").firstElementChild.remove();
  }

  #pause() {
    const paused = !this.#list.paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    this.#list.pause(paused);
    announce(paused ? "Paused" : "Continued");
  }

  #replay(since) {
    if (Number.isNaN(since.getTime())) return this.#problem("Choose a time to replay from.");
    this.#problem("");
    const local = new Date(since.getTime() - since.getTimezoneOffset() * 60_000);
    $("since").value = local.toISOString().slice(0, 16);
    this.#list.clear();
    this.#follow({ since });
    announce("Replaying");
    return undefined;
  }

  #add() {
    const topic = $("topic").value.trim();
    if (!/^[^.]+\.[^.]+\..+$/s.test(topic)) return this.#problem("A topic has the form TYPE.ACTION.KEY, as in issueUpdate.*.*");
    this.#problem("");
    $("topic").value = "";
    if (!this.#topics.includes(topic)) {
      if (this.#topics.length === 1 && this.#topics[0] === "*.*.*") this.#topics = []; // it would hold the new one
      this.#topics.push(topic);
      this.#follow({ cursor: this.#notifier?.cursor });
    }
    return undefined;
  }

  #remove(topic) {
    this.#topics = this.#topics.filter(other => other !== topic);
    this.#follow({ cursor: this.#notifier?.cursor });
    $("topic").focus();
  }

  #problem(text) { $("topic-problem").textContent = text; }

  #showTopics() {
    if (this.#topics.length === 0) this.#topics = ["*.*.*"];
    $("chips").replaceChildren(...this.#topics.map(topic => make("li", {}, make("span", {}, topic), this.#topics.length > 1 || topic !== "*.*.*"
      ? make("button", { type: "button", "aria-label": `Do not follow ${topic}`, onclick: () => this.#remove(topic) }, "✕")
      : "")));
    $("summary").textContent = this.#topics.join(", ") + ($("mine").checked ? ", to me" : "");
  }
}
