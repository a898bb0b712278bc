// The view of rates: what all instances do together, drawn as it moves.

import { Chart } from "./chart.js";
import { $, bytes, lasting, make, number, whileShown } from "./dom.js";

const PAUSE = 2000; // milliseconds between two questions

const perSecond = n => (n >= 100 || n === 0 ? number(Math.round(n)) : n.toFixed(1));
const milliseconds = n => (n >= 1000 ? `${(n / 1000).toFixed(1)} s` : `${n >= 10 || n === 0 ? Math.round(n) : n.toFixed(1)} ms`);

const columns = ["Instance", "Up", "Connections", "Topics", "Behind", "Waiting", "Refused", "p50", "p99"];

export class Rates {
  #session;
  #before = new Map(); // the last answer of each instance
  #charts = {
    events: new Chart("Events a second", "read from the log, and delivered to clients", perSecond, PAUSE),
    latency: new Chart("Latency", "from commit to socket, of the slowest instance", milliseconds, PAUSE),
    connections: new Chart("Connections", "open, by protocol", n => number(Math.round(n)), PAUSE),
  };
  show;

  constructor(session) {
    this.#session = session;
    $("charts").append(...Object.values(this.#charts).map(chart => chart.element));
    this.show = whileShown($("rates"), PAUSE, () => this.#ask());
  }

  forget() {
    this.#before.clear();
    for (const chart of Object.values(this.#charts)) chart.clear();
    $("rates-table").replaceChildren();
  }

  async #ask() {
    try {
      const answer = await this.#session.askFor("admin/stats?scope=all");
      if (!answer) return;
      this.#draw(answer.instances.filter(i => !i.error));
      this.#list(answer.instances);
      $("rates-problem").textContent = "";
    } catch (error) {
      $("rates-problem").textContent = `Could not be asked: ${error.message}`;
    }
  }

  #draw(instances) {
    this.#charts.events.push({ read: this.#rate(instances, "events_read"), delivered: this.#rate(instances, "events_delivered") });
    this.#before = new Map(instances.map(i => [i.instance, i]));
    const slowest = which => {
      const all = instances.map(i => i.latency_ms?.commit_to_written).filter(l => l?.count > 0).map(l => l[which]);
      return all.length > 0 ? Math.max(...all) : null;
    };
    this.#charts.latency.push({ p50: slowest("p50"), p99: slowest("p99") });
    const open = {};
    for (const { connections } of instances) {
      for (const protocol of Object.keys(connections).sort()) open[protocol] = (open[protocol] ?? 0) + connections[protocol];
    }
    this.#charts.connections.push(open);
  }

  /** How fast a counter grows, of those instances that have answered twice; one that began anew counts again next time. */
  #rate(instances, counter) {
    const rates = instances.flatMap(now => {
      const before = this.#before.get(now.instance);
      const seconds = before && (Date.parse(now.at) - Date.parse(before.at)) / 1000;
      return seconds > 0 && now[counter] >= before[counter] ? [(now[counter] - before[counter]) / seconds] : [];
    });
    return rates.length > 0 ? rates.reduce((sum, rate) => sum + rate, 0) : null;
  }

  #list(instances) {
    const rows = instances.map(i => {
      const latency = i.latency_ms?.commit_to_written;
      const measured = latency?.count > 0;
      const texts = i.error ? [`no answer: ${i.error}`] : [
        lasting(i.uptime_seconds), number(Object.values(i.connections).reduce((a, b) => a + b, 0)), number(i.subscriptions), number(i.behind),
        i.outbox_events ? `${number(i.outbox_events)}, ${bytes(i.outbox_bytes)}` : "—", number(i.refused ?? 0),
        measured ? milliseconds(latency.p50) : "—", measured ? milliseconds(latency.p99) : "—",
      ];
      return make("tr", { className: i.error ? "silent" : "" }, make("th", { scope: "row" }, i.name || i.instance),
        ...texts.map((text, at) => make("td", i.error ? { colSpan: columns.length - 1 } : { "data-label": columns[at + 1] }, text)));
    });
    $("rates-table").className = "cards";
    $("rates-table").replaceChildren(make("thead", {}, make("tr", {}, ...columns.map(name => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
  }
}
