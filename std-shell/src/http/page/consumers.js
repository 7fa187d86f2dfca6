// Who takes messages at this node.

import { bar, h, line, nothing, spark } from "./dom.js";
import { count, rate, span } from "./format.js";
import { Table, main, show } from "./table.js";

const heading = h("h2", { tabindex: "-1" }, "Consumers");
let table;

const key = (row) => `consumer ${row.service} ${row.name}`;

function make(rates) {
  return new Table({
    label: "Consumers",
    key,
    filter: (row) => `${row.service} ${row.name} ${row.program ?? ""}`,
    sort: "Service",
    columns: [
      { name: "Service", kind: "name", value: (row) => row.service, cell: (row) => row.service },
      { name: "Consumer", kind: "name", value: (row) => row.name, cell: (row) => row.name },
      { name: "Program", kind: "wide", title: "Whose it is", value: (row) => row.program ?? "", cell: (row) => row.program ?? "administrator" },
      { name: "Holds", kind: "num", title: "Messages that it holds, of those that it may", value: (row) => row.held, cell: (row) => `${count(row.held)} of ${count(row.limit)}` },
      { name: "Load", kind: "drawn", sign: (row) => `${row.held} ${row.limit}`, cell: (row) => bar(row.held, row.limit, `holds ${row.held} of ${row.limit}`) },
      { name: "Asks for", kind: "num", title: "Messages that its waiting takes ask for", value: (row) => row.wanted, cell: (row) => count(row.wanted) },
      { name: "Lease", kind: "num", title: "How long it may be silent", value: (row) => row.lease_ms, cell: (row) => span(row.lease_ms) },
      { name: "Rate", kind: "num", title: "How many it wants at most", cell: (row) => row.rate ?? "–" },
      { name: "Taken/s", kind: "num", value: (row) => rates.of(key(row), "taken") ?? 0, cell: (row) => rate(rates.of(key(row), "taken")) || "–" },
      { name: "Taken", kind: "num", title: "Since the node’s start", value: (row) => row.taken, cell: (row) => count(row.taken) },
      { name: "Lately", kind: "drawn", cell: (row) => spark(rates.line(key(row), "taken")) },
    ],
    empty: () => nothing(
      "Nobody takes messages at this node.",
      h("p", null, "A worker in one line, in the node’s directory:"),
      line("redlink serve wc -- wc -w"),
      h("p", null, "Services of other nodes are reached over links all the same."),
    ),
  });
}

export const consumers = {
  title: "Consumers",
  show() { show(main, heading, table?.element ?? h("p", { class: "muted" }, "Looking…")); return heading; },
  async poll({ api, rates, signal }) {
    const all = await api.get("/v1/consumers", signal);
    const now = performance.now(), keys = new Set();
    for (const row of all) { rates.note(key(row), { taken: row.taken }, now); keys.add(key(row)); }
    rates.keep("consumer ", keys);
    table ??= make(rates);
    show(main, heading, table.element);
    table.update(all);
  },
};
