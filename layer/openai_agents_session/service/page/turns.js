// Turns as elements: what was said, tools with what they were given and returned, and what can be done with them.

import { copy, count, el, icon, iconButton } from "./elements.js";
import { filesOf, isAnswer, isUser, kindOf, textOf } from "./history.js";
import { show } from "./markdown.js";

/** What the button is called that copies a conversation up to a turn. */
export const FORK = "Go on from here in a new conversation";

const NOT_RUN = /^This call was .*, and has not run\.$/;  // the output of a call whose run was given up, or not decided on in time
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,/;

/** Makes the elements of a conversation's turns, and keeps those of turns that are as they were. */
export class Turns {
  #log;
  #actions;
  #shown = new Map();  // position -> {signature, node}
  #tools = new Map();  // call id -> its card
  #texts = new WeakMap();

  /** `actions` are told {turn, text} of what somebody wants to edit, have answered again, or copy into a new conversation. */
  constructor(log, actions) {
    this.#log = log;
    this.#actions = actions;
  }

  /** Shows these turns, and no others, before anything else that is in the log. */
  show(turns) {
    const shown = new Map();
    let place = null;
    for (const turn of turns) {
      const signature = turn.items.map((item) => this.#textOf(item)).join("\n");
      const known = this.#shown.get(turn.first);
      const node = known?.signature === signature ? known.node : this.#made(turn, known?.node);
      shown.set(turn.first, { signature, node });
      if ((place ? place.nextSibling : this.#log.firstChild) !== node) place ? place.after(node) : this.#log.prepend(node);
      place = node;
    }
    for (const [first, { node }] of this.#shown) if (shown.get(first)?.node !== node) node.remove();
    this.#shown = shown;
  }

  clear() {
    this.#shown.clear();
    this.#tools.clear();
    this.#log.replaceChildren();
  }

  last() { return [...this.#shown.values()].at(-1)?.node; }

  tool(callId) { return this.#tools.get(callId); }

  /** Shows what each of these turns has used. */
  count(spans) {
    for (const { first, usage } of spans) {
      const line = this.#shown.get(first)?.node.querySelector(".count");
      if (line && usage?.total_tokens) line.textContent = count(usage.total_tokens, "token");
    }
  }

  #textOf(item) {
    if (!this.#texts.has(item)) this.#texts.set(item, JSON.stringify(item));
    return this.#texts.get(item);
  }

  #made(turn, before) {
    const open = new Set([...(before || this.#log).querySelectorAll("details[open]")].map((details) => details.dataset.call));
    const node = el("li", { className: "turn" });
    const said = isUser(turn.items[0]) ? turn.items[0].content : null;
    if (said !== null) node.append(this.#saidBy(turn, said));
    for (const item of turn.items.slice(said === null ? 0 : 1)) this.addItem(node, item);
    node.querySelectorAll("details").forEach((details) => { details.open = open.has(details.dataset.call); });
    if (isAnswer(turn.items.at(-1))) node.append(this.#answered(turn));
    return node;
  }

  #saidBy(turn, content) {
    const text = textOf(content);
    const node = userNode(text, filesOf(content));
    node.append(el("div", { className: "actions-row" },
      iconButton("copy", "Copy the message", (event) => copy(text, event.currentTarget, "the message")),
      iconButton("edit", "Edit the message", () => this.#actions.edit({ turn, node, text, content }))));
    return node;
  }

  #answered(turn) {
    const text = turn.items.filter(isAnswer).map((item) => textOf(item.content)).join("\n\n");
    const again = iconButton("again", "Answer again", () => this.#actions.again({ turn }));
    again.classList.add("again");
    return el("div", { className: "actions-row" },
      iconButton("copy", "Copy the answer", (event) => copy(text, event.currentTarget, "the answer")),
      again,
      iconButton("fork", FORK, () => this.#actions.fork({ turn })),
      el("span", { className: "count" }));
  }

  addItem(node, item) {
    const kind = kindOf(item);
    if (kind === "function_call") setTool(this.addTool(node, item.call_id, item.name, item.arguments), "stopped", "no output yet");
    else if (kind === "function_call_output") this.finishTool(node, item.call_id, item.output);
    else if (kind.endsWith("_call")) setTool(this.addTool(node, item.id || kind, kind.replace(/_call$/, "").replaceAll("_", " "), "{}"), "finished", "done");
    else if (isAnswer(item) && textOf(item.content)) show(addAnswer(node).body, textOf(item.content));
  }

  addTool(node, callId, name, args) {
    const known = this.#tools.get(callId);
    if (known && node.contains(known)) return known;
    const state = el("span", { className: "state" });
    const rows = el("dl", {}, el("dt", { textContent: "Called with" }), el("dd", {}, scrollable(pretty(args))));
    const summary = el("summary", {}, el("b", { textContent: name }), el("span", { className: "brief", textContent: brief(args) }), state);
    const details = el("details", {}, summary, rows);
    details.dataset.call = callId;
    const card = Object.assign(el("div", { className: "tool" }, details), { state, rows, finished: false });
    node.append(card);
    this.#tools.set(callId, card);
    return card;
  }

  finishTool(node, callId, output) {
    const card = this.#tools.get(callId) || this.addTool(node, callId, "tool", "{}");
    if (card.finished) return;
    card.finished = true;
    const text = typeof output === "string" ? output : JSON.stringify(output, null, 2);
    setTool(card, ...endOf(card, text));
    card.rows.append(el("dt", { textContent: "Returned" }), el("dd", {}, scrollable(text)));
  }
}

/** How a call ended, by what it returned. */
function endOf(card, text) {
  if (NOT_RUN.test(text)) return ["stopped", "not run"];
  const rejected = card.classList.contains("rejected") || /not approved/i.test(text.slice(0, 80));
  return rejected ? ["rejected", "rejected"] : ["finished", "done"];
}

export function setTool(card, state, label) {
  card.className = `tool ${state}`;
  card.state.textContent = label;
}

export function userNode(text, files = []) {
  const node = el("div", { className: "user" }, el("span", { className: "hidden", textContent: "You: " }));
  for (const file of files) node.append(fileNode(file));
  if (text) node.append(el("div", { className: "text plain", textContent: text }));
  return node;
}

function fileNode(part) {
  if (PICTURE.test(part.image_url || "")) return el("img", { src: part.image_url, alt: "Attached picture" });
  const name = part.filename || part.image_url || part.file_url || part.file_id || "attached file";
  return el("span", { className: "file" }, icon("file"), name.length > 80 ? `${name.slice(0, 77)}…` : name);
}

export function addAnswer(node) {
  const body = el("div", { className: "text" });
  const answer = el("div", { className: "assistant" }, el("span", { className: "hidden", textContent: "Agent: " }), body);
  node.append(answer);
  return Object.assign(answer, { body });
}

export function scrollable(text) {
  const node = el("pre", { textContent: text, tabIndex: 0 });
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", "Value");
  return node;
}

export function pretty(json) {
  try { return JSON.stringify(JSON.parse(json), null, 2); } catch { return String(json); }
}

function brief(json) {
  try {
    return Object.entries(JSON.parse(json)).map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(", ").slice(0, 300);
  } catch { return String(json).slice(0, 300); }
}
