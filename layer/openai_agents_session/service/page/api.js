// The service's routes. What it refuses is raised as Refused, a lost connection as the browser's own TypeError.

import { eventsOf } from "./events.js";
import { isWanted, signIn, signed } from "./signin.js";

export class Refused extends Error {
  constructor(status, body) {
    super(body.error || "no reason was given");
    Object.assign(this, { status, body });
  }
}

export const newId = () => crypto.randomUUID ? crypto.randomUUID()
  : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const pathOf = (id, rest = "") => `sessions/${encodeURIComponent(id)}${rest}`;

const query = (fields) => {
  const said = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return said.length ? `?${new URLSearchParams(said)}` : "";
};

async function ask(method, path, payload, { accept = "application/json", key, signal } = {}) {
  const headers = { accept, ...signed() };
  let body;
  if (payload !== undefined) {
    body = JSON.stringify(payload);
    Object.assign(headers, { "content-type": "application/json" }, await digest(body));
  }
  if (key) headers["idempotency-key"] = key;
  const answer = await fetch(path, { method, headers, body, signal });
  if (answer.status === 401 && isWanted()) await signIn();
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

// CloudFront signs requests to a function's URL, but only with the body's digest given.
async function digest(body) {
  if (!crypto.subtle) return {};
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(body)));
  return { "x-amz-content-sha256": Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

const json = async (...request) => (await ask(...request)).json();

export const list = (cursor, search) => json("GET", `sessions${query({ limit: 30, cursor, search })}`);
export const history = (id, limit, before) => json("GET", pathOf(id, query({ limit, before })));
export const approvals = (id) => json("GET", pathOf(id, "/approvals"));
export const rename = (id, title) => json("PATCH", pathOf(id), { title });
export const remove = (id) => json("DELETE", pathOf(id));
export const fork = (id, keep) => json("POST", pathOf(id, "/fork"), { keep });
export const stop = (id) => json("POST", pathOf(id, "/stop"), {});
export const discard = (id, run) => json("POST", pathOf(id, "/approvals"), { decision: "discard", run_id: run });

/**
 * Asks for a turn, and tells what happens in it. `rest` is the route behind the session: "", "/edit", "/approvals".
 * A turn that goes on elsewhere is answered at once: that answer is returned.
 */
export async function turn(id, rest, payload, { key, signal, receive }) {
  const answer = await ask("POST", pathOf(id, rest), payload, { accept: "text/event-stream", key, signal });
  if (!answer.headers.get("content-type").startsWith("text/event-stream")) return answer.json();
  for await (const [name, data] of eventsOf(answer.body)) {
    if (name === "error") throw new Refused(data.status, data);
    receive(name, data);
    if (name === "done") return null;
  }
  throw new TypeError("the stream ended early");
}
