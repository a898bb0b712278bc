// The view of connections, of all instances; and dropping a user.

import { $, bytes, counted, lasting, make, number, whileShown } from "./dom.js";

const PAUSE = 2000; // milliseconds between two questions
const MOST = 500; // connections of an instance that are shown

const columns = ["User", "Protocol", "Address", "Connected for", "Topics", "State", "Waiting", ""];

export class Connections {
  #session;
  #instances = new Map(); // what is shown of each
  #only = ""; // the user that is asked for
  show;

  constructor(session) {
    this.#session = session;
    this.show = whileShown($("connections"), PAUSE, () => this.#ask());
    $("find-user").addEventListener("input", () => {
      if (this.#only && this.#only !== $("find-user").value) this.#only = "";
      this.#filter();
    });
    $("find").addEventListener("submit", event => {
      event.preventDefault();
      this.#only = $("find-user").value.trim();
      this.show();
    });
    $("drop-cancel").addEventListener("click", () => $("drop").close());
    $("drop-confirm").addEventListener("click", () => this.#drop());
  }

  forget() {
    this.#instances.clear();
    $("instances").replaceChildren();
  }

  async #ask() {
    const user = this.#only ? `&user=${encodeURIComponent(this.#only)}` : "";
    try {
      const answer = await this.#session.askFor(`admin/clients?scope=all&limit=${MOST}${user}`);
      if (answer) this.#showAll(answer.instances);
      $("connections-problem").textContent = "";
    } catch (error) {
      $("connections-problem").textContent = `Could not be asked: ${error.message}`;
    }
  }

  #showAll(instances) {
    const there = new Set(instances.map(i => i.instance));
    for (const [id, shown] of this.#instances) {
      if (there.has(id)) continue;
      shown.group.remove();
      this.#instances.delete(id);
    }
    instances.forEach((instance, at) => {
      let shown = this.#instances.get(instance.instance);
      if (!shown) this.#instances.set(instance.instance, shown = group());
      place($("instances"), shown.group, at);
      this.#showOne(shown, instance);
    });
    const total = instances.reduce((sum, i) => sum + (i.error ? 0 : i.connections), 0);
    const silent = instances.filter(i => i.error).length;
    $("connections-count").textContent = `${counted(total, "connection")} · ${counted(instances.length, "instance")}` + (silent ? `, ${silent} without an answer` : "");
    this.#filter();
  }

  #showOne(shown, instance) {
    const clients = instance.clients ?? [];
    shown.name.textContent = instance.name || instance.instance;
    shown.about.textContent = [
      instance.self ? "this one" : "", instance.version, `up ${lasting(since(instance.started_at))}`,
      instance.error ? `last seen ${lasting(since(instance.seen_at))} ago` : counted(instance.connections, "connection"),
      !instance.error && instance.connections > clients.length ? `${number(clients.length)} shown` : "",
    ].filter(Boolean).join(" · ");
    shown.problem.textContent = instance.error ? `No answer: ${instance.error}` : "";
    shown.sheet.hidden = clients.length === 0;
    const there = new Set(clients.map(c => c.id));
    for (const [id, row] of shown.rows) {
      if (there.has(id)) continue;
      row.remove();
      shown.rows.delete(id);
    }
    clients.forEach((client, at) => {
      let row = shown.rows.get(client.id);
      if (!row) shown.rows.set(client.id, row = this.#row());
      fill(row, client);
      place(shown.body, row, at);
    });
  }

  #row() {
    const row = make("tr");
    for (const column of columns.slice(0, -1)) row.append(make("td", { "data-label": column }));
    row.firstElementChild.className = "user";
    const button = make("button", { type: "button", className: "small", onclick: () => this.#confirm(row.dataset.user) }, "Drop user");
    row.append(make("td", { className: "act" }, button));
    return row;
  }

  #filter() {
    const text = $("find-user").value.trim().toLowerCase();
    for (const { rows } of this.#instances.values()) {
      for (const row of rows.values()) row.hidden = !row.dataset.user.toLowerCase().includes(text);
    }
  }

  #confirm(user) {
    $("drop").dataset.user = user;
    $("drop-title").textContent = `Drop ${user}?`;
    $("drop-problem").textContent = "";
    $("drop").showModal();
    $("drop-cancel").focus();
  }

  async #drop() {
    $("drop-confirm").disabled = true;
    try {
      await this.#session.ask("drop_user", { method: "POST", body: JSON.stringify({ drop_access_id: $("drop").dataset.user }) });
      $("drop").close();
      this.show();
    } catch (error) {
      $("drop-problem").textContent = `Not dropped: ${error.message}`;
    } finally {
      $("drop-confirm").disabled = false;
    }
  }
}

function group() {
  const shown = { rows: new Map(), name: make("h2"), about: make("p", { className: "about" }), problem: make("p", { className: "problem" }), body: make("tbody") };
  const head = make("thead", {}, make("tr", {}, ...columns.map(name => make("th", { scope: "col" }, name || make("span", { className: "unseen" }, "Action")))));
  shown.sheet = make("div", { className: "sheet" }, make("table", { className: "cards" }, head, shown.body));
  shown.group = make("section", { className: "instance" }, make("header", {}, shown.name, shown.about), shown.problem, shown.sheet);
  return shown;
}

function fill(row, client) {
  const texts = [
    client.user || "—", client.protocol, client.address, lasting(since(client.connected_at)), number(client.subscriptions),
    client.state + (client.lag_ms >= 1000 ? ` ${lasting(client.lag_ms / 1000)}` : ""),
    client.outbox_events ? `${counted(client.outbox_events, "event")}, ${bytes(client.outbox_bytes)}` : "—",
  ];
  row.dataset.user = client.user;
  row.classList.toggle("behind", client.state === "behind");
  row.querySelector("button").hidden = !client.user;
  row.querySelector("button").setAttribute("aria-label", `Drop user ${client.user}`);
  texts.forEach((text, i) => {
    if (row.children[i].textContent !== text) row.children[i].textContent = text;
  });
}

/** Has an element be at a place among its siblings; it is moved only if it is elsewhere, as that takes the focus. */
function place(parent, element, at) {
  if (parent.children[at] === element) return;
  const focused = element.contains(document.activeElement) ? document.activeElement : undefined;
  parent.insertBefore(element, parent.children[at] ?? null);
  focused?.focus();
}

const since = time => Math.max(0, (Date.now() - Date.parse(time)) / 1000);
