// Who is signed in, what is in view, and when the node is asked.

import { Api, Refused, Unreachable } from "./api.js";
import { byId, h, say, tell } from "./dom.js";
import { showHeader } from "./header.js";
import { Rates } from "./rates.js";
import { consumers } from "./consumers.js";
import { letters } from "./letters.js";
import { links } from "./links.js";
import { message } from "./message.js";
import { messages } from "./messages.js";
import { node as itself } from "./node.js";
import { services } from "./services.js";
import { main } from "./table.js";

/** How often the node is asked, in milliseconds. */
const EVERY = 2_000;
/** Of the time, at most one part in so many is asking: a slow node is asked less often. */
const SHARE = 10;
const BACK_OFF_MAX = 30_000;
/** Where this tab remembers who signed in, and that a certificate shall do. */
const TOKEN = "redlink-token", CERTIFICATE = "redlink-certificate";

const VIEWS = { services, messages, consumers, links, "dead-letters": letters, node: itself };
/** What a program may see. */
const FOR_PROGRAMS = new Set(["messages"]);

const rates = new Rates();
let session, view, whole, version, keepsLetters = false;

// --- where in the page ---

function place() {
  const [, name, id, query] = /^#?([a-z-]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(location.hash) ?? [];
  const known = Object.hasOwn(VIEWS, name ?? "") ? name : whole === false ? "messages" : "services";
  return { name: known, id: id ? decode(id) : "", query: new URLSearchParams(query ?? "") };
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function go(focus) {
  const { name, id, query } = place();
  view = name === "messages" && id ? message : VIEWS[name];
  showViews(name);
  const heading = view.show({ id, query, wake: () => session?.wake() });
  if (focus) heading?.focus({ preventScroll: true });
  session?.wake();
}

function showViews(current) {
  const nav = byId("views");
  const names = Object.keys(VIEWS).filter((name) => (whole !== false || FOR_PROGRAMS.has(name)) && (name !== "dead-letters" || keepsLetters));
  if (nav.children.length !== names.length) nav.replaceChildren(...names.map((name) => h("a", { href: `#${name}` }, VIEWS[name].title)));
  [...nav.children].forEach((link, at) => {
    if (names[at] === current) {
      link.setAttribute("aria-current", "page");
      // On a phone not all of them are in sight.
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else {
      link.removeAttribute("aria-current");
    }
  });
}

// --- who is signed in ---

/** A token that came with the address, as `redlink web` prints it. It must not stay there. */
function tokenOfAddress() {
  const found = /^#token=([^&]*)/.exec(location.hash)?.[1];
  if (found === undefined) return;
  history.replaceState(null, "", location.pathname);
  sessionStorage.removeItem(CERTIFICATE);
  sessionStorage.setItem(TOKEN, decode(found));
}

function enter(why) {
  session?.stop();
  session = undefined;
  whole = version = undefined;
  rates.clear();
  byId("head").hidden = true;
  byId("lost").hidden = true;
  byId("ask").close();
  main.replaceChildren();
  document.title = "Redlink";
  byId("enter").hidden = false;
  say(byId("token-error"), why ?? "");
  byId("token-error").hidden = !why;
  byId("token").setAttribute("aria-invalid", String(Boolean(why)));
  byId("token").focus();
}

function begin() {
  const token = sessionStorage.getItem(TOKEN);
  if (!token && !sessionStorage.getItem(CERTIFICATE)) return enter();
  session?.stop();
  session = new Session(new Api(token));
  session.run();
}

function leave(why) {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.removeItem(CERTIFICATE);
  enter(why);
}

// --- asking ---

/** Asks again and again, one question at a time, while the page is looked at. */
class Session {
  #api;
  #over = false;
  #round = new AbortController();
  #nudge = () => {};
  #failures = 0;

  constructor(api) { this.#api = api; }

  stop() { this.#over = true; this.#round.abort(new Stale()); this.#nudge(); }

  /** What is under way is of no use any more: asks at once. */
  wake() { this.#round.abort(new Stale()); this.#nudge(); }

  async run() {
    while (!this.#over) {
      if (document.hidden) await this.#pause();
      if (this.#over) return;
      this.#round = new AbortController();
      const from = performance.now();
      let wait;
      try {
        await this.#look(this.#round.signal);
        this.#failures = 0;
        byId("lost").hidden = true;
        wait = Math.max(EVERY, (performance.now() - from) * (SHARE - 1));
      } catch (error) {
        if (this.#over) return;
        if (error instanceof Stale) continue;
        // Known, but of no use here, is no way in either.
        if (error instanceof Refused && (error.status === 401 || (error.status === 403 && whole === undefined))) return leave(error.message);
        wait = this.#lost(error);
      }
      if (!this.#round.signal.aborted) await this.#pause(wait);
    }
  }

  async #look(signal) {
    const node = await this.#api.get("/v1/node", signal);
    if (signal.aborted) throw new Stale();
    const first = whole === undefined;
    // A program is told less, and must not ask for the rest.
    whole = "tables" in node;
    keepsLetters = node.store?.dead_letters !== undefined;
    if (whole) rates.note("node", { accepted: node.counters.accepted ?? 0, settled: node.counters.settled ?? 0 }, performance.now());
    showHeader(node, rates, whole);
    if (version !== undefined && version !== node.version) location.reload();
    version = node.version;
    if (first) {
      byId("enter").hidden = true;
      byId("head").hidden = false;
      byId("token").value = "";
      tell(`Signed in to ${node.name}.`);
      go(true);
      // That was for whoever asks again: this goes on.
      this.#round = new AbortController();
      signal = this.#round.signal;
    }
    byId("limited")?.remove();
    if (!whole) {
      byId("views").after(h("p", { class: "notice", id: "limited" }, "A program sees the messages that are its own. Services, consumers, links and the node’s state are for administrators: ask one for a token that says ", h("code", null, "--administer"), "."));
    }
    const seen = view;
    await seen.poll({ api: this.#api, node, rates, whole, signal, wake: () => this.wake() });
  }

  #lost(error) {
    if (!(error instanceof Unreachable) && !(error instanceof Refused)) console.error(error);
    this.#failures += 1;
    const back = Math.min(EVERY * 2 ** (this.#failures - 1), BACK_OFF_MAX);
    // Not all pages of a node that comes back at the same moment.
    const wait = Math.max((error.after ?? 0) * 1000, back * (0.75 + Math.random() / 2));
    if (whole === undefined) {
      // Nobody is in yet, so there is nothing that could be old.
      byId("enter").hidden = false;
    }
    const what = error instanceof Unreachable ? "Connection lost: " : "";
    const old = whole === undefined ? "" : " What is shown is not new.";
    say(byId("lost-text"), `${what}${error.message} Trying again in ${Math.max(Math.round(wait / 1000), 1)} s.${old}`);
    byId("lost").hidden = false;
    return wait;
  }

  /** Until somebody has a reason to ask, or so many milliseconds. */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#nudge = () => { clearTimeout(timer); resolve(); };
    });
  }
}

class Stale extends Error {}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  if (!token) return;
  byId("token-error").hidden = true;
  // What no header may have, fetch would refuse with words that help nobody.
  if (!/^[\x21-\x7e]+$/.test(token)) return enter("That is no token: it has a space or another character that tokens don’t have. Copy the whole line again.");
  sessionStorage.removeItem(CERTIFICATE);
  sessionStorage.setItem(TOKEN, token);
  begin();
});
byId("certificate").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.setItem(CERTIFICATE, "yes");
  begin();
});
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
byId("leave").addEventListener("click", () => leave());
byId("retry").addEventListener("click", () => session?.wake());
document.addEventListener("visibilitychange", () => { if (!document.hidden) session?.wake(); });
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) { tokenOfAddress(); begin(); } else if (session && whole !== undefined) go(true);
});

tokenOfAddress();
begin();
