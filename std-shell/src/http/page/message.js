// One message: where it is, what happened to it at every node, and what became of it.

import { facts, h, nothing, say, tell } from "./dom.js";
import { ask } from "./dialog.js";
import { Refused } from "./api.js";
import { count, plural, size, span } from "./format.js";
import { PREVIEW, preview } from "./payload.js";
import { stateBadge } from "./messages.js";
import { main, show } from "./table.js";

const heading = h("h2", { tabindex: "-1", class: "code" });
const up = h("p", null, h("a", { href: "#messages" }, "← Messages"));
const about = h("div", { class: "card" });
const actions = h("div", { class: "row" });
const outcome = h("div");
const trace = h("div");
const cancel = h("button", { type: "button", class: "danger" }, "Cancel this message");
const look = h("button", { type: "button" }, "Show the outcome");
const retrace = h("button", { type: "button", class: "quiet" }, "Ask the nodes again");
const steps = h("h2", null, "Steps");

/** Which one, and what of it is shown. */
let now = { id: "", sign: undefined, api: undefined };

const path = (id) => `/v1/messages/${encodeURIComponent(id)}`;

function clock(micros) {
  const at = new Date(micros / 1000);
  return `${at.toLocaleTimeString("en-GB")}.${String(Math.floor(micros / 1000) % 1000).padStart(3, "0")}`;
}

function offset(from, to) {
  const ms = (to - from) / 1000;
  return ms === 0 ? "" : `+${span(Math.max(ms, 0))}`;
}

function detail(step) {
  const words = [];
  if (step.from) words.push(`from ${step.from}`);
  if (step.to) words.push(`to ${step.to}`);
  if (step.node) words.push(`for ${step.node.name ?? step.node.node}`);
  if (step.attempt) words.push(`attempt ${step.attempt}`);
  if (step.detail) words.push(step.detail);
  return words.join(" · ");
}

const WHY = {
  cut: "told only a part: too much came at once", elsewhere: "told its part another way, and that did not come", unknown: "remembers nothing of it",
  off: "keeps no steps (trace_memory)", busy: "had too many questions", silent: "did not answer in time", "not-linked": "has no link with the node that would have asked it",
  "too-far": "is too many links away", "not-asked": "was not asked: too many peers", other: "said something that this version does not know",
};

function tracing(found) {
  const notes = (found.nodes ?? []).filter((node) => node.state !== "told").map((node) => h("li", null, `${node.name || node.node} ${WHY[node.state] ?? node.state}`));
  const left = found.left_out + (found.nodes ?? []).reduce((sum, node) => sum + node.left_out, 0);
  if (left > 0) notes.push(h("li", null, `${count(left)} older steps are not shown: there were too many`));
  if (!found.on) notes.push(h("li", null, `${found.node} keeps no steps (trace_memory)`));
  const first = found.steps[0]?.at_micros;
  const columns = ["Time", "After", "At", "Step", "What"];
  const row = (step) => [clock(step.at_micros), offset(first, step.at_micros), step.seen_by || found.node, step.step, detail(step)]
    .map((text, at) => h("td", { role: "cell", class: ["num", "num", "name", "", "wide"][at] + (text ? "" : " void"), "data-label": columns[at] }, text));
  return [
    found.steps.length === 0 ? nothing("No node remembers a step of it.") : h("div", { class: "scroll" }, h("table", { class: "steps", role: "table", "aria-label": "Steps" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((name, at) => h("th", { role: "columnheader", scope: "col", class: at < 2 ? "num" : "" }, name)))),
      h("tbody", { role: "rowgroup" }, found.steps.map((step) => h("tr", { role: "row" }, row(step)))))),
    notes.length > 0 && h("ul", { class: "notes" }, notes),
  ].filter(Boolean);
}

async function askNodes({ api, whole }, id) {
  if (!whole) { trace.replaceChildren(h("p", { class: "muted" }, "The steps at every node are for administrators.")); return; }
  let parts;
  try {
    parts = tracing(await api.get(`${path(id)}/trace?follow=true`));
  } catch (error) {
    if (!(error instanceof Refused) || error.status === 401) throw error;
    parts = [h("p", { class: "muted" }, error.message)];
  }
  if (now.id === id) trace.replaceChildren(...parts);
}

cancel.addEventListener("click", async () => {
  const { id, api, service, wake } = now;
  const done = await ask({
    question: "Cancel this message?",
    details: [facts([["Message", h("code", null, id)], ["Service", service]]), h("p", null, "Its producer learns that it was cancelled. A worker that has it is told to stop, and what it answers is refused.")],
    verb: "Cancel it", keep: "Leave it",
    act: () => api.delete(path(id)),
  });
  if (done) { tell(`Cancelled ${id}.`); wake(); }
});

look.addEventListener("click", async () => {
  const { id, api } = now;
  look.disabled = true;
  try {
    const found = await api.bytes(`${path(id)}/outcome`, PREVIEW);
    if (now.id === id) outcome.replaceChildren(h("h2", null, "Reply"), preview(found).element);
  } catch (error) {
    // Another end than a reply comes as a problem, with the consumer's words.
    const good = error instanceof Refused && error.status === 424;
    if (now.id === id) outcome.replaceChildren(h("h2", null, good ? "Why it ended so" : "Outcome"), good ? h("pre", { tabindex: "0" }, error.message) : h("p", { class: "error" }, error.message));
  } finally {
    look.disabled = false;
  }
});

retrace.addEventListener("click", async () => {
  retrace.disabled = true;
  try { await askNodes(now, now.id); } catch { now.wake(); } finally { retrace.disabled = false; }
});

export const message = {
  show({ id }) {
    if (now.id !== id) {
      now = { id, sign: undefined };
      for (const part of [about, outcome]) part.replaceChildren();
      trace.replaceChildren(h("p", { class: "muted" }, "Asking the nodes…"));
      actions.hidden = true;
    }
    say(heading, id);
    show(main, up, heading, about, actions, outcome, steps, trace);
    return heading;
  },
  async poll({ api, whole, signal, wake }) {
    const id = now.id;
    let found;
    try {
      found = await api.get(path(id), signal);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      about.replaceChildren(h("p", null, error.kind === "other-node" ? "Another node holds this message; here is what is known of its way." : "This node does not hold it: it was collected, its retention is over, or it never was here."));
    }
    if (now.id !== id) return;
    Object.assign(now, { api, whole, wake, service: found?.service });
    if (found) {
      about.replaceChildren(facts([
        ["State", stateBadge(found.state)], ["Service", found.service], ["Alternate", found.alternate && `${found.alternate.service}${found.alternate.in_ms > 0 ? ` in ${span(found.alternate.in_ms)}` : ", offered there too"}`],
        ["Offered", found.delayed_ms > 0 && `in ${span(found.delayed_ms)}`], ["Was the dead letter", found.requeued_from],
        ["Priority", count(found.priority)], ["Size", size(found.size)], ["Attempts", plural(found.attempts, "attempt")],
        ["Age", span(found.age_ms)], ["Time left", found.outcome ? "" : found.remaining_ms === null ? "no deadline" : span(found.remaining_ms)],
        ["Wants", found.send_only ? "no reply" : "a reply"], ["From", found.program ?? "administrator"],
      ]));
    }
    actions.hidden = !found;
    cancel.hidden = !found || Boolean(found.outcome) || found.state === "settling";
    look.hidden = !found?.outcome;
    retrace.hidden = !whole;
    if (actions.children.length === 0) actions.append(cancel, look, retrace);
    // Each node on its way is asked when something has changed, not all the time.
    const sign = found ? `${found.state} ${found.attempts}` : "gone";
    if (now.sign !== sign) {
      now.sign = sign;
      await askNodes({ api, whole }, id);
    }
  },
};
