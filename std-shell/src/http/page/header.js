// What the node as a whole is doing: always in sight.

import { bar, byId, h, say, spark } from "./dom.js";
import { count, plural, rate, size, span } from "./format.js";

const tiles = new Map();

function tile(key, label, value, note, drawing) {
  let parts = tiles.get(key);
  if (!parts) {
    parts = { value: h("dd", { class: "value" }), note: h("dd", { class: "note" }), drawing: h("dd", { class: "drawing" }) };
    parts.element = h("dl", { class: `tile ${key}` }, h("dt", null, label), parts.value, parts.drawing, parts.note);
    tiles.set(key, parts);
  }
  say(parts.value, value);
  say(parts.note, note);
  parts.drawing.replaceChildren(...(drawing ? [drawing] : []));
  return parts.element;
}

function state(node) {
  if (node.draining) return ["stopping", "warn"];
  return node.ready ? ["ready", "good"] : ["not ready", "bad"];
}

/** For administrators all of it, for programs what they may know. */
export function showHeader(node, rates, whole) {
  document.title = `${node.name} · Redlink`;
  say(byId("name"), node.name);
  const [word, tone] = state(node);
  say(byId("state"), word);
  byId("state").className = `badge ${tone}`;
  const about = [`mesh ${node.mesh}`];
  if (whole) about.push(`up ${span(node.uptime_ms)}`);
  about.push(`version ${node.version}`);
  if (node.program) about.push(`you are ${node.program}`);
  say(byId("about"), about.join(" · "));
  byId("tiles").hidden = !whole;
  if (!whole) return;
  const share = (used, max) => `of ${count(max)}`;
  const flow = (name) => spark(rates.line("node", name));
  const elements = [
    tile("in", "Accepted", `${rate(rates.of("node", "accepted")) || "–"}/s`, `${count(node.counters.accepted ?? 0)} since the start`, flow("accepted")),
    tile("out", "Done", `${rate(rates.of("node", "settled")) || "–"}/s`, `${count(node.counters.settled ?? 0)} since the start`, flow("settled")),
    tile("messages", "Messages held", count(node.messages), share(node.messages, node.messages_max), bar(node.messages, node.messages_max, "Messages held")),
    tile("deliveries", "With workers here", count(node.deliveries), plural(node.consumers, "consumer"), null),
    tile("peers", "Links up", count(node.peers), plural(node.services, "service known", "services known"), null),
    tile("memory", "Payload memory", size(node.memory_used), `of ${size(node.memory_max)}`, bar(node.memory_used, node.memory_max, "Payload memory")),
    tile("store", "Disk commit", node.store.up ? span(node.store.commit_micros / 1000) : "down", node.store.up ? `${size(node.store.free_bytes)} free` : "the node’s log says why", null),
  ];
  const dead = node.store.dead_letters;
  if (dead !== undefined) elements.push(tile("letters", "Dead letters", count(dead), dead > 0 ? "to be looked at" : "nothing died", null));
  tiles.get("letters")?.value.classList.toggle("bad", dead > 0);
  tiles.get("store").value.classList.toggle("bad", !node.store.up);
  const place = byId("tiles");
  if (place.children.length !== elements.length) place.replaceChildren(...elements);
}
