// The node itself: its disk, how full its tables are, and what it has counted.

import { badge, bar, facts, h } from "./dom.js";
import { count, size, span } from "./format.js";
import { Table, main, show } from "./table.js";

const heading = h("h2", { tabindex: "-1" }, "Node");
const store = h("div", { class: "card" });
const full = h("h2", null, "Tables"), counted = h("h2", null, "Counted since the start");
let tables, counters;

const words = (name) => name.replaceAll("_", " ");

function make() {
  tables = new Table({
    label: "Tables", lines: true,
    key: (row) => row.name,
    columns: [
      { name: "Table", kind: "name", value: (row) => row.name, cell: (row) => row.name },
      { name: "Used", kind: "num", value: (row) => row.used, cell: (row) => count(row.used) },
      { name: "Room", kind: "num", value: (row) => row.max, cell: (row) => count(row.max) },
      { name: "Fill", kind: "drawn", value: (row) => row.used / row.max, sign: (row) => `${row.used} ${row.max}`, cell: (row) => bar(row.used, row.max, `${row.name}: ${row.used} of ${row.max}`) },
    ],
    empty: () => h("p", null, "This node does not say."),
  });
  counters = new Table({
    label: "Counted since the start", lines: true,
    key: ([name]) => name,
    filter: ([name]) => words(name),
    columns: [
      { name: "Counted", kind: "name", value: ([name]) => name, cell: ([name]) => words(name) },
      { name: "Times", kind: "num", value: ([, n]) => n, cell: ([, n]) => count(n) },
    ],
    empty: () => h("p", null, "Nothing yet."),
  });
}

export const node = {
  title: "Node",
  show() { show(main, heading); return heading; },
  async poll({ node }) {
    if (!tables) make();
    const s = node.store;
    store.replaceChildren(facts([
      ["Store", s.up ? badge("up", "good") : h("span", null, badge("down", "bad"), " it tries to come back; the node’s log says why")],
      ["Database", `${size(s.database_bytes)} and ${size(s.log_bytes)} of log`],
      ["Free on disk", s.free_bytes ? size(s.free_bytes) : "can’t be told"],
      ["Last commit", span(s.commit_micros / 1000)],
      ["On disk", `${count(s.messages)} messages, ${count(s.outcomes)} outcomes, ${count(s.replies)} replies under way`],
      ["Commits", `${count(s.groups)} of ${count(s.done)} operations${s.failed ? `, ${count(s.failed)} refused` : ""}${s.reopened ? `, opened again ${count(s.reopened)} times` : ""}`],
      ["Identity", h("code", null, node.node)],
      ["Start number", count(node.boot)],
    ]));
    show(main, heading, store, full, tables.element, counted, counters.element);
    tables.update(Object.entries(node.tables ?? {}).map(([name, fill]) => ({ name, ...fill })));
    counters.update(Object.entries(node.counters));
  },
};
