// Messages that died, kept until somebody puts them back or throws them away.

import { facts, h, line, nothing, say, tell } from "./dom.js";
import { ask } from "./dialog.js";
import { count, size, span } from "./format.js";
import { stateBadge } from "./messages.js";
import { PREVIEW, preview } from "./payload.js";
import { Table, main, show } from "./table.js";

/** Letters of one page: as many as the node is asked for. */
const PAGE = 50;

const heading = h("h2", { tabindex: "-1" }, "Dead letters");
const service = h("input", { type: "search", id: "letters-of", placeholder: "any", spellcheck: "false", maxlength: 64, autocomplete: "off" });
const back = h("button", { type: "button", class: "quiet" }, "Back");
const next = h("button", { type: "button", class: "quiet" }, "Next");
const range = h("span", { class: "muted num" });
const none = h("div");
const tools = h("form", { class: "row tools", autocomplete: "off" }, h("label", { for: "letters-of" }, "Service"), service, h("span", { class: "grow" }), range, back, next);

let table, trail = [], last, api, wake = () => {};

const path = (id, rest = "") => `/v1/dead-letters/${encodeURIComponent(id)}${rest}`;
const ago = (time) => span(Math.max(Date.now() - Date.parse(time), 0));

function make() {
  return new Table({
    label: "Dead letters",
    key: (letter) => letter.id,
    rows: PAGE,
    columns: [
      { name: "Message", kind: "name", sign: (l) => l.id, cell: (l) => h("a", { href: `#messages/${l.id}` }, l.id) },
      { name: "Service", kind: "name", value: (l) => l.service, cell: (l) => l.service },
      { name: "Ended", sign: (l) => l.outcome, cell: (l) => stateBadge(l.outcome) },
      { name: "Ago", kind: "num", value: (l) => -(Date.parse(l.died) || 0), cell: (l) => (l.died ? ago(l.died) : "") },
      { name: "Attempts", kind: "num", value: (l) => l.attempts, cell: (l) => count(l.attempts) },
      { name: "Size", kind: "num", value: (l) => l.size, cell: (l) => size(l.size) },
      { name: "From", title: "The program that submitted it", cell: (l) => l.program ?? "administrator" },
      { name: "Why", kind: "wide problem", cell: (l) => (l.failure ?? "").slice(0, 300) },
      { name: "Actions", quiet: true, kind: "acts", sign: (l) => l.id, cell: (l) => h("span", { class: "row" },
        h("button", { type: "button", "aria-label": `Look at ${l.id}`, on: { click: () => look(l) } }, "Look"),
        h("button", { type: "button", "aria-label": `Requeue ${l.id}`, on: { click: () => requeue(l) } }, "Requeue"),
        h("button", { type: "button", class: "danger", "aria-label": `Delete ${l.id}`, on: { click: () => remove(l) } }, "Delete")) },
    ],
    empty: () => none,
  });
}

function about(letter) {
  return facts([
    ["Message", h("code", null, letter.id)], ["Service", letter.service], ["Alternate", letter.alternate], ["Attempts", count(letter.attempts)],
    ["Size", size(letter.size)], ["Submitted", letter.submitted && `${ago(letter.submitted)} ago`], ["Came from", letter.requeued_from],
  ]);
}

/** What is in it; once it is text and short enough it can be changed. */
async function look(letter) {
  const content = h("div", null, h("p", { class: "muted" }, "Fetching the payload…"));
  const edit = h("textarea", { hidden: true, "aria-label": "Payload", spellcheck: "false" });
  const to = h("input", { id: "requeue-to", value: letter.service, spellcheck: "false", maxlength: 64, autocomplete: "off" });
  const change = h("button", { type: "button", class: "quiet", hidden: true }, "Change the payload");
  let type = "", changed = false;
  change.addEventListener("click", () => { changed = true; edit.hidden = false; content.hidden = change.hidden = true; edit.focus(); });
  const asked = ask({
    question: "Dead letter",
    details: [about(letter), letter.failure && h("pre", { class: "bad", tabindex: "0", "aria-label": "Why it ended" }, letter.failure), content, edit, h("div", { class: "row" }, change, h("span", { class: "grow" }), h("label", { for: "requeue-to" }, "For"), to)],
    verb: "Requeue", keep: "Close", tone: "main",
    act: () => put(letter, to.value.trim(), changed ? edit.value : undefined, type),
  });
  try {
    const found = await api.bytes(path(letter.id, "/payload"), PREVIEW);
    const { element, text } = preview(found);
    type = found.type;
    content.replaceChildren(element);
    if (text !== undefined) { edit.value = text; change.hidden = false; }
  } catch (error) {
    content.replaceChildren(h("p", { class: "error" }, error.message));
  }
  told(await asked, letter);
}

/** Makes a message of it again; gives the new one's id. */
async function put(letter, to, text, type) {
  const query = to && to !== letter.service ? `?service=${encodeURIComponent(to)}` : "";
  // An empty payload is one too: that it is meant, its type says.
  const answer = text === undefined ? await api.post(path(letter.id, `/requeue${query}`)) : await api.post(path(letter.id, `/requeue${query}`), new TextEncoder().encode(text), type || "application/octet-stream");
  return (await answer.json()).id;
}

function told(id, letter) {
  if (typeof id !== "string") return;
  tell(`Requeued ${letter.id}: it is ${id} now.`);
  wake();
}

async function requeue(letter) {
  told(await ask({
    question: "Requeue this dead letter?",
    details: [about(letter), h("p", null, "It becomes a new message, as it was, with all its attempts and its time anew.")],
    verb: "Requeue", keep: "Leave it", tone: "main",
    act: () => put(letter, letter.service),
  }), letter);
}

async function remove(letter) {
  const done = await ask({
    question: "Delete this dead letter?",
    details: [about(letter), h("p", null, "It and its payload are gone then, for good.")],
    verb: "Delete it", keep: "Leave it",
    act: () => api.delete(path(letter.id)),
  });
  if (done) { tell(`Deleted ${letter.id}.`); wake(); }
}

service.addEventListener("change", () => { trail = []; wake(); });
tools.addEventListener("submit", (event) => event.preventDefault());
next.addEventListener("click", () => { if (last !== undefined) { trail.push(last); wake(); } });
back.addEventListener("click", () => { trail.pop(); wake(); });

export const letters = {
  title: "Dead letters",
  show({ wake: again }) {
    wake = again;
    show(main, heading, tools, table?.element ?? h("p", { class: "muted" }, "Looking…"));
    return heading;
  },
  async poll({ api: now, signal }) {
    api = now;
    const query = new URLSearchParams({ max: String(PAGE) });
    if (service.value.trim()) query.set("service", service.value.trim());
    if (trail.length > 0) query.set("after", trail.at(-1));
    const list = await api.get(`/v1/dead-letters?${query}`, signal);
    if (list.length === 0 && trail.length > 0) { trail.pop(); wake(); return; }
    const more = list.length === PAGE;
    last = more ? list.at(-1).place : undefined;
    none.replaceChildren(service.value.trim()
      ? nothing("No dead letter is for that service.")
      : nothing("Nothing has died here.", h("p", null, "A message whose attempts are used up, or that wants no reply and that its worker could not process, comes here. From the command line:"), line("redlink dead-letters")));
    table ??= make();
    back.disabled = trail.length === 0;
    next.disabled = !more;
    back.hidden = next.hidden = trail.length === 0 && !more;
    say(range, list.length === 0 ? "" : `${count(trail.length * PAGE + 1)}–${count(trail.length * PAGE + list.length)}`);
    show(main, heading, tools, table.element);
    table.update(list);
  },
};
