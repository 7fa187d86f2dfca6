// The node's API, as whoever signed in.

/** How long one answer may take. */
const PATIENCE = 15_000;

/** The node answered that it can't be. */
export class Refused extends Error {
  constructor(status, problem, after) {
    super(problem.detail || problem.title || `The node answered with status ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
    this.after = after;
  }
}

/** There was no answer. */
export class Unreachable extends Error {}

export class Api {
  #token;

  /** Without a token the certificate counts that the browser shows, if it has one. */
  constructor(token) { this.#token = token; }

  async #ask(method, path, { signal, body, type, patience = PATIENCE } = {}) {
    const headers = {};
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    if (type) headers["Content-Type"] = type;
    const late = AbortSignal.timeout(patience);
    let answer;
    try {
      answer = await fetch(path, {
        method, headers, body,
        signal: signal ? AbortSignal.any([signal, late]) : late,
        cache: "no-store", redirect: "error", referrerPolicy: "no-referrer", credentials: "same-origin", mode: "same-origin",
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Unreachable(late.aborted ? "The node does not answer." : "The node can’t be reached.");
    }
    if (answer.ok) return answer;
    let problem = {};
    try { problem = await answer.json(); } catch { /* Something between here and the node has answered. */ }
    throw new Refused(answer.status, problem, Number(answer.headers.get("Retry-After")) || 0);
  }

  async #read(answer, signal) {
    try {
      return await answer.json();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new Unreachable("The node’s answer broke off.");
    }
  }

  /** A JSON document. */
  async get(path, signal) {
    const answer = await this.#ask("GET", path, { signal });
    return this.#read(answer, signal);
  }

  /** A JSON list, and the path of what comes behind it, if there may be more. */
  async page(path, signal) {
    const answer = await this.#ask("GET", path, { signal });
    const next = /^<([^>]*)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
    return { list: await this.#read(answer, signal), next };
  }

  async delete(path) { await this.#ask("DELETE", path); }

  async post(path, body, type) { return this.#ask("POST", path, { body, type }); }

  /** The first bytes of a payload. The rest stays at the node. */
  async bytes(path, most) {
    const answer = await this.#ask("GET", path);
    const length = Number(answer.headers.get("Content-Length") ?? NaN);
    const parts = [];
    let had = 0, whole = false;
    const reader = answer.body?.getReader();
    while (reader && had <= most) {
      const { done, value } = await reader.read();
      if (done) { whole = true; break; }
      parts.push(value);
      had += value.length;
    }
    if (!whole) reader?.cancel().catch(() => {});
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return {
      bytes: bytes.subarray(0, most),
      cut: bytes.length > most,
      length: Number.isFinite(length) ? length : whole ? bytes.length : undefined,
      type: answer.headers.get("Content-Type") ?? "",
      outcome: answer.headers.get("Redlink-Outcome"),
      status: answer.status,
    };
  }
}
