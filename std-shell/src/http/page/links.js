// The nodes that this one is linked with, and what is reached over them.

import { badge, h, line, nothing } from "./dom.js";
import { count, span } from "./format.js";
import { Table, main, show } from "./table.js";

const heading = h("h2", { tabindex: "-1" }, "Links");
const under = h("h2", null, "Routes");
let peers, routes;

const called = (peer) => peer.name ?? peer.url ?? peer.node ?? "?";

function way(peer) {
  const words = [];
  if (peer.mode) words.push(peer.mode === "poll" ? "by polling" : "stream");
  if (peer.proxy) words.push(`through ${peer.proxy}`);
  return words.join(", ");
}

/** What of a policy is not as it is without settings. */
function policy({ policy, direction } = {}) {
  const words = [];
  if (!policy) return words;
  const rules = (name, list) => { if (list?.length) words.push(`${name} ${[list].flat().join(" ")}`); };
  rules("import", policy.import);
  rules("export", policy.export);
  if (direction === "north" && policy.redistribute === false) words.push("not told to souths");
  if (direction === "south" && policy.accept_from_south === false) words.push("its services are not taken");
  return words;
}

function state(peer) {
  if (peer.connected) return h("span", null, badge("up", "good"), " ", span(peer.connected_ms));
  const when = peer.retry_ms === undefined ? "" : ` again in ${span(peer.retry_ms)}`;
  return h("span", null, badge("down", "bad"), when);
}

const peerTable = () => new Table({
  label: "Links",
  key: (peer) => `${peer.direction} ${peer.url ?? ""} ${peer.name ?? peer.node ?? ""}`,
  filter: (peer) => `${called(peer)} ${peer.direction} ${peer.url ?? ""} ${peer.error ?? ""}`,
  sort: "Peer",
  columns: [
    { name: "Peer", kind: "name", value: called, cell: called },
    { name: "Direction", value: (peer) => peer.direction, cell: (peer) => peer.direction },
    { name: "State", kind: "twice", value: (peer) => Number(peer.connected), sign: (peer) => JSON.stringify([peer.connected, span(peer.connected_ms), span(peer.retry_ms)]), cell: state },
    { name: "Way", kind: "wide", cell: (peer) => [peer.url, way(peer)].filter(Boolean).join(" · ") },
    { name: "Services", kind: "num", title: "Services that it has consumers of", value: (peer) => peer.services, cell: (peer) => count(peer.services) },
    { name: "Waiting", kind: "num", title: "Its messages that wait here for a consumer", value: (peer) => peer.reserved, cell: (peer) => count(peer.reserved) },
    { name: "Held here", kind: "num", title: "Its messages that consumers here hold", value: (peer) => peer.held, cell: (peer) => count(peer.held) },
    { name: "Held there", kind: "num", title: "This node’s messages that its consumers hold", value: (peer) => peer.granted, cell: (peer) => count(peer.granted) },
    { name: "Policy", kind: "wide", cell: (peer) => policy(peer).join("; ") },
    { name: "Last problem", kind: "wide problem", cell: (peer) => peer.error ?? "" },
  ],
  empty: () => nothing(
    "This node is linked with no other.",
    h("p", null, "Here, for one that shall join:"),
    line("redlink token create"),
    h("p", null, "There, with what that printed:"),
    line(`redlink node --north ${location.origin} --token TOKEN`),
  ),
});

function path(route) {
  if (!route.reachable) return "not reached through it";
  return route.path.map(({ name, node }) => name ?? node).join(" → ");
}

const routeTable = () => new Table({
  label: "Routes", lines: true,
  key: (route) => `${route.service} ${route.peer}`,
  filter: (route) => `${route.service} ${route.peer} ${path(route)}`,
  sort: "Service",
  columns: [
    { name: "Service", kind: "name", value: (route) => route.service, cell: (route) => route.service },
    { name: "Peer", value: (route) => route.peer, cell: (route) => `${route.peer} (${route.direction})` },
    { name: "Way", kind: "wide", cell: path },
    { name: "Links", kind: "num", title: "Links on that way", value: (route) => route.hops, cell: (route) => (route.reachable ? count(route.hops) : "–") },
    { name: "Window", kind: "num", title: "Offers that may wait there", value: (route) => route.window ?? -1, cell: (route) => (route.window === null ? "–" : count(route.window)) },
    { name: "Placed", kind: "num", title: "Offers of this node that wait there", value: (route) => route.placed, cell: (route) => count(route.placed) },
    { name: "Waiting", kind: "num", title: "Its offers that wait here", value: (route) => route.reserved, cell: (route) => count(route.reserved) },
    { name: "Over priority", kind: "num", title: "Only higher priorities find room there", cell: (route) => (route.floor === null ? "" : count(route.floor)) },
    { name: "Told", title: "Whether this node told the peer that it reaches the service", cell: (route) => (route.told ? "yes" : "no") },
  ],
  empty: () => nothing("No service is reached over a link, and no peer was told of one."),
});

export const links = {
  title: "Links",
  show() { show(main, heading, ...(peers ? [peers.element, under, routes.element] : [h("p", { class: "muted" }, "Looking…")])); return heading; },
  async poll({ api, signal }) {
    const [known, ways] = await Promise.all([api.get("/v1/peers", signal), api.get("/v1/routes", signal)]);
    peers ??= peerTable();
    routes ??= routeTable();
    show(main, heading, peers.element, under, routes.element);
    peers.update(known);
    routes.update(ways);
  },
};
