// Tables that change while somebody reads them: rows keep their elements, and only what changed is written. At most one
// page of rows is in the document, however long the list is.

import { byId, h, say } from "./dom.js";
import { count } from "./format.js";

const ROWS = 50;
let ids = 0;

export class Table {
  #rows = [];
  #shown = new Map();
  #page = 0;
  #sort;
  #filter = "";

  /**
   * Columns: `name`, `cell(row)` (text or an element), `sign(row)` for elements (what they depend on), `value(row)` to sort
   * by, `kind` (`num`, `wide`, `name`). `lines`: rows are short, and stay lines on a phone. `key(row)` tells rows apart; `filter(row)` is what a search looks at.
   */
  constructor({ label, columns, key, filter, sort, descending = false, empty, rows = ROWS, lines = false }) {
    Object.assign(this, { columns, key, filterText: filter, empty, size: rows });
    this.#sort = sort ? { column: columns.find((column) => column.name === sort), down: descending } : undefined;
    const id = `filter-${ids += 1}`;
    this.search = h("input", { type: "search", id, placeholder: "Filter", spellcheck: "false", "aria-label": `Filter ${label}`, on: { input: () => { this.#filter = this.search.value.toLowerCase(); this.#page = 0; this.#draw(); } } });
    this.range = h("span", { class: "muted num" });
    this.back = h("button", { type: "button", class: "quiet", on: { click: () => this.#turn(-1) } }, "Back");
    this.on = h("button", { type: "button", class: "quiet", on: { click: () => this.#turn(1) } }, "Next");
    this.tools = h("div", { class: "row tools", hidden: true }, this.search, h("span", { class: "grow" }), this.range, this.back, this.on);
    this.heads = columns.map((column) => this.#head(column));
    this.bodyElement = h("tbody", { role: "rowgroup" });
    this.table = h("table", { class: lines && "lines", role: "table", "aria-label": label }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, this.heads)), this.bodyElement);
    this.none = h("div");
    this.element = h("div", { class: "listing" }, this.tools, h("div", { class: "scroll" }, this.table), this.none);
    this.table.hidden = true;
  }

  #head(column) {
    const cell = h("th", { role: "columnheader", scope: "col", class: column.kind });
    if (!column.value) {
      cell.append(h("span", { class: column.quiet ? "unseen" : "" }, column.name));
      return cell;
    }
    cell.append(h("button", { type: "button", class: "sort", title: column.title, on: { click: () => {
      const same = this.#sort?.column === column;
      // Numbers are mostly looked for from the top.
      this.#sort = { column, down: same ? !this.#sort.down : column.kind === "num" };
      this.#page = 0;
      this.#draw();
    } } }, column.name));
    return cell;
  }

  #turn(by) { this.#page += by; this.#draw(); }

  /** Shows these. */
  update(rows) { this.#rows = rows; this.#draw(); }

  #draw() {
    let rows = this.#rows;
    if (this.#filter) rows = rows.filter((row) => this.filterText(row).toLowerCase().includes(this.#filter));
    if (this.#sort) {
      const { column, down } = this.#sort;
      const order = (a, b) => {
        const [x, y] = [column.value(a), column.value(b)];
        return (typeof x === "string" ? x.localeCompare(y) : (x ?? -1) - (y ?? -1)) * (down ? -1 : 1);
      };
      rows = [...rows].sort(order);
    }
    this.columns.forEach((column, at) => {
      const sorted = column === this.#sort?.column;
      if (sorted) this.heads[at].setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else this.heads[at].removeAttribute("aria-sort");
    });
    const pages = Math.max(Math.ceil(rows.length / this.size), 1);
    this.#page = Math.min(Math.max(this.#page, 0), pages - 1);
    const from = this.#page * this.size;
    const visible = rows.slice(from, from + this.size);
    this.tools.hidden = pages === 1 && (!this.filterText || this.#rows.length <= 12) && !this.#filter;
    this.search.hidden = !this.filterText;
    this.back.hidden = this.on.hidden = pages === 1;
    this.back.disabled = this.#page === 0;
    this.on.disabled = this.#page === pages - 1;
    say(this.range, visible.length === 0 ? "" : `${count(from + 1)}–${count(from + visible.length)} of ${count(rows.length)}`);
    this.#place(visible);
    this.table.hidden = visible.length === 0;
    this.none.hidden = visible.length > 0;
    if (visible.length === 0) {
      const sign = this.#filter ? "filter" : "empty";
      if (this.none.dataset.sign !== sign) {
        this.none.dataset.sign = sign;
        this.none.replaceChildren(this.#filter ? h("p", { class: "nothing" }, "Nothing has that in it.") : this.empty());
      }
    }
  }

  #place(rows) {
    const shown = new Map();
    let after = null;
    for (const row of rows) {
      const key = this.key(row);
      const line = this.#shown.get(key) ?? this.#line();
      this.#shown.delete(key);
      shown.set(key, line);
      this.#write(line, row);
      const next = after ? after.nextSibling : this.bodyElement.firstChild;
      if (next !== line.element) this.bodyElement.insertBefore(line.element, next);
      after = line.element;
    }
    for (const line of this.#shown.values()) line.element.remove();
    this.#shown = shown;
  }

  #line() {
    const cells = this.columns.map((column) => h("td", { role: "cell", class: column.kind, "data-label": column.quiet ? "" : column.name }));
    return { element: h("tr", { role: "row" }, cells), cells, signs: [] };
  }

  #write(line, row) {
    this.columns.forEach((column, at) => {
      const sign = column.sign ? column.sign(row) : undefined;
      if (sign !== undefined && line.signs[at] === sign) return;
      const content = column.cell(row);
      if (content instanceof Node) {
        // Somebody is in it: what he is about to press must not go away under his finger.
        if (sign !== undefined && line.cells[at].contains(document.activeElement)) return;
        line.cells[at].replaceChildren(content);
        line.signs[at] = sign;
      } else {
        const text = content ?? "";
        if (line.signs[at] !== `text ${text}`) { say(line.cells[at], text); line.signs[at] = `text ${text}`; }
      }
      const seen = line.cells[at].textContent;
      line.cells[at].classList.toggle("void", seen === "" && !line.cells[at].querySelector("svg .trend, svg .rail"));
      // Nothing going on: paler, and left out where there is little room.
      line.cells[at].classList.toggle("idle", seen === "0" || seen === "–");
    });
  }
}

/** Makes these the children of a place. What is there already stays untouched, with its focus. */
export function show(place, ...elements) {
  for (const child of [...place.children]) if (!elements.includes(child)) child.remove();
  elements.forEach((element, at) => {
    if (place.children[at] !== element) place.insertBefore(element, place.children[at] ?? null);
  });
}

export const main = byId("main");
