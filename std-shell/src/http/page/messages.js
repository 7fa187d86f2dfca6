// What is held here, and how far it is.

import { badge, h, line, nothing, say } from "./dom.js";
import { count, size, span } from "./format.js";
import { Table, main, show } from "./table.js";

/** Messages of one page: as many as the node is asked for. */
const PAGE = 50;
const STATES = [
  ["open", "Open"], ["", "All"], ["settled", "With an outcome"],
  ["queued", "Queued"], ["delayed", "Delayed"], ["offered", "Offered"], ["granted", "Granted"], ["settling", "Settling"],
  ["replied", "Replied"], ["delivered", "Delivered"], ["failed", "Failed"], ["expired", "Expired"], ["dead", "Dead"], ["cancelled", "Cancelled"],
];
const TONES = { replied: "good", delivered: "good", failed: "bad", expired: "bad", dead: "bad", granted: "busy", offered: "info", settling: "busy" };

/** A message's state, coloured. */
export const stateBadge = (state) => badge(state, TONES[state]);

const heading = h("h2", { tabindex: "-1" }, "Messages");
const names = h("datalist", { id: "service-names" });
const service = h("input", { type: "search", id: "of-service", list: "service-names", placeholder: "any", spellcheck: "false", maxlength: 64, autocomplete: "off" });
const state = h("select", { id: "in-state" }, STATES.map(([value, text]) => h("option", { value }, text)));
const id = h("input", { type: "search", id: "message-id", placeholder: "0123456789abcdef-17", spellcheck: "false", autocomplete: "off", size: 22 });
const back = h("button", { type: "button", class: "quiet" }, "Back");
const next = h("button", { type: "button", class: "quiet" }, "Next");
const range = h("span", { class: "muted num" });
const none = h("div");
const bar = h("form", { class: "row tools filters", autocomplete: "off" },
  h("label", { for: "of-service" }, "Service"), service, names,
  h("label", { for: "in-state" }, "State"), state,
  h("label", { for: "message-id" }, "Id"), id, h("button", { type: "submit", class: "quiet" }, "Open"),
  h("span", { class: "grow" }), range, back, next);

let table, follow = "", trail = [], again = () => {};

function make() {
  return new Table({
    label: "Messages",
    key: (message) => message.id,
    rows: PAGE,
    columns: [
      { name: "Message", kind: "name", sign: (m) => m.id, cell: (m) => h("a", { href: `#messages/${m.id}` }, m.id) },
      { name: "Service", kind: "name", value: (m) => m.service, cell: (m) => m.service },
      { name: "State", value: (m) => m.state, sign: (m) => m.state, cell: (m) => stateBadge(m.state) },
      { name: "Priority", kind: "num", value: (m) => m.priority, cell: (m) => count(m.priority) },
      { name: "Attempts", kind: "num", value: (m) => m.attempts, cell: (m) => count(m.attempts) },
      { name: "Size", kind: "num", value: (m) => m.size, cell: (m) => size(m.size) },
      { name: "Age", kind: "num", value: (m) => m.age_ms, cell: (m) => span(m.age_ms) },
      { name: "Time left", kind: "num", value: (m) => m.remaining_ms ?? Infinity, cell: (m) => (m.outcome ? "" : m.remaining_ms === null ? "no deadline" : span(m.remaining_ms)) },
      { name: "From", kind: "wide", title: "The program that submitted it", value: (m) => m.program ?? "", cell: (m) => m.program ?? "administrator" },
    ],
    empty: () => none,
  });
}

function wanted() {
  const parts = new URLSearchParams({ max: String(PAGE) });
  if (service.value) parts.set("service", service.value);
  if (state.value) parts.set("state", state.value);
  return `/v1/messages?${parts}`;
}

function choose() {
  const parts = new URLSearchParams();
  if (service.value) parts.set("service", service.value);
  parts.set("state", state.value);
  history.replaceState(null, "", `#messages?${parts}`);
  trail = [];
  again();
}

service.addEventListener("change", choose);
state.addEventListener("change", choose);
bar.addEventListener("submit", (event) => {
  event.preventDefault();
  if (id.value.trim()) location.hash = `#messages/${encodeURIComponent(id.value.trim())}`;
});
next.addEventListener("click", () => { if (follow) { trail.push(follow); again(); } });
back.addEventListener("click", () => { trail.pop(); again(); });

function tellNone() {
  const some = service.value || state.value !== "";
  none.replaceChildren(some
    ? nothing("No message is like that.", h("p", null, state.value === "open" ? "Everything that was accepted has its outcome." : "Choose another service or state."))
    : nothing("No message is held here.", h("p", null, "One that waits for its outcome on disk, whether or not somebody serves it yet:"), line("echo one two three | redlink send wc")));
}

export const messages = {
  title: "Messages",
  show({ query, wake }) {
    again = wake;
    const [name, word] = [query.get("service") ?? "", query.get("state") ?? "open"];
    if (service.value !== name || state.value !== word) trail = [];
    service.value = name;
    state.value = STATES.some(([value]) => value === word) ? word : "open";
    show(main, heading, bar, table?.element ?? h("p", { class: "muted" }, "Looking…"));
    return heading;
  },
  async poll({ api, whole, signal }) {
    const first = api.page(trail.at(-1) ?? wanted(), signal);
    const known = whole ? api.get("/v1/services", signal) : [];
    const [{ list, next: behind }, services] = await Promise.all([first, known]);
    if (list.length === 0 && trail.length > 0) { trail.pop(); again(); return; }
    follow = behind;
    const wish = services.slice(0, 200).map(({ name }) => name);
    if (names.children.length !== wish.length || wish.some((name, at) => names.children[at].value !== name)) names.replaceChildren(...wish.map((value) => h("option", { value })));
    table ??= make();
    tellNone();
    back.disabled = trail.length === 0;
    next.disabled = !behind;
    back.hidden = next.hidden = trail.length === 0 && !behind;
    say(range, list.length === 0 ? "" : behind || trail.length ? `${count(trail.length * PAGE + 1)}–${count(trail.length * PAGE + list.length)}` : count(list.length));
    show(main, heading, bar, table.element);
    table.update(list);
  },
};
