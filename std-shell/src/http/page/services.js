// The services that are known here, and what goes through each.

import { h, line, nothing, spark } from "./dom.js";
import { count, rate, span } from "./format.js";
import { Table, main, show } from "./table.js";

const heading = h("h2", { tabindex: "-1" }, "Services");
let table;

function ways(routes) {
  const all = new Map();
  for (const route of routes) {
    if (!route.reachable) continue;
    if (!all.has(route.service)) all.set(route.service, []);
    all.get(route.service).push(route);
  }
  for (const found of all.values()) found.sort((a, b) => a.hops - b.hops || a.peer.localeCompare(b.peer));
  return all;
}

function via(row) {
  const names = row.ways.slice(0, 3).map(({ peer, hops }) => (hops > 1 ? `${peer} (${hops} links)` : peer));
  if (row.ways.length > 3) names.push(`${row.ways.length - 3} more`);
  if (row.consumers > 0) names.unshift("here");
  return names.join(", ");
}

function make(rates) {
  const numbers = (name, get, title) => ({ name, kind: "num", title, value: get, cell: (row) => count(get(row)) });
  const perSecond = (name, counter, title) => ({
    name, kind: "num", title, value: (row) => rates.of(`service ${row.name}`, counter) ?? 0, cell: (row) => rate(rates.of(`service ${row.name}`, counter)) || "–",
  });
  return new Table({
    label: "Services",
    key: (row) => row.name,
    filter: (row) => `${row.name} ${via(row)}`,
    sort: "Service",
    columns: [
      { name: "Service", kind: "name", value: (row) => row.name, sign: (row) => row.name, cell: (row) => h("a", { href: `#messages?service=${encodeURIComponent(row.name)}&state=open` }, row.name) },
      numbers("Consumers", (row) => row.consumers, "Consumers of this node"),
      numbers("Waiting", (row) => row.queued, "Messages of this node that wait for a consumer"),
      numbers("Of peers", (row) => row.reserved, "Messages of peers that wait for a consumer of this node"),
      { name: "Oldest", kind: "num", title: "How long the oldest that waits has waited", value: (row) => row.oldest_ms ?? -1, cell: (row) => span(row.oldest_ms) || "–" },
      numbers("In transit", (row) => row.granted, "Messages of this node that a consumer holds, here or elsewhere"),
      numbers("Held here", (row) => row.held, "Messages that consumers of this node hold"),
      numbers("Room", (row) => row.room, "Messages that consumers of this node would be handed at once"),
      { name: "Reached", kind: "wide reached", sign: (row) => via(row), cell: (row) => {
        const text = via(row);
        return text ? h("span", null, text) : h("span", { class: "warn" }, "nobody serves it");
      } },
      perSecond("In/s", "accepted", "Messages that producers of this node submitted"),
      perSecond("Taken/s", "taken", "Messages that consumers of this node were handed"),
      perSecond("Done/s", "settled", "Outcomes of messages of this node"),
      { name: "Lately", kind: "drawn", cell: (row) => {
        const key = `service ${row.name}`;
        const [into, out, done] = ["accepted", "taken", "settled"].map((name) => rates.line(key, name));
        return spark(into, out.map((n, at) => Math.max(n, done[at])));
      } },
    ],
    empty: () => nothing(
      "No service is known here yet.",
      h("p", null, "Any program that reads a payload and writes a reply can be one. In the node’s directory:"),
      line("redlink serve wc -- wc -w"),
      h("p", null, "and then, to call it:"),
      line("echo one two three | redlink call wc"),
    ),
  });
}

export const services = {
  title: "Services",
  show() { show(main, heading, table?.element ?? h("p", { class: "muted" }, "Looking…")); return heading; },
  async poll({ api, rates, signal }) {
    const [known, routes] = await Promise.all([api.get("/v1/services", signal), api.get("/v1/routes", signal)]);
    const now = performance.now(), keys = new Set();
    for (const { name, accepted, settled, taken } of known) {
      // A node counts for so many services only.
      if (accepted === null) continue;
      rates.note(`service ${name}`, { accepted, settled, taken }, now);
      keys.add(`service ${name}`);
    }
    rates.keep("service ", keys);
    const found = ways(routes);
    const rows = known.map((service) => ({ ...service, ways: found.get(service.name) ?? [] }));
    table ??= make(rates);
    show(main, heading, table.element);
    table.update(rows);
  },
};
