// The list of conversations: the server's, with search, rename and delete. Where the server has none (a table without
// the index, callers without an identity), those that this browser has opened.

import * as api from "./api.js";
import { $, answerOf, button, el, iconButton, say } from "./elements.js";

const KEPT = 30;
const MINUTE = 60, HOUR = 3600, DAY = 86_400;

let known = [];       // {id, title, at}, newest first
let cursor = null;
let isLocal = false;
let current = "";
let asked = 0;        // counts questions, so that an answer that comes late is dropped
let events = {};

/** `renamed(id, title)` and `deleted(id)` are told what has been done. */
export function start({ renamed, deleted }) {
  events = { renamed, deleted };
  let timer;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(load, 250);
  });
  $("find").addEventListener("submit", (event) => { event.preventDefault(); load(); });
  addEventListener("storage", () => isLocal && load());
  setInterval(draw, MINUTE * 1000);  // "3 min ago"
}

export async function load() {
  const mine = ++asked;
  try {
    const page = await api.list(null, $("search").value.trim());
    if (mine !== asked) return;
    known = page.sessions.map(entryOf);
    cursor = page.cursor;
    isLocal = false;
    $("list-note").textContent = known.length ? "" : $("search").value ? "No title has these words." : "No conversations yet.";
  } catch (error) {
    if (mine !== asked) return;
    cursor = null;
    if (error.body?.code === "no_list") useLocal();
    else $("list-note").textContent = "The list could not be loaded. It is tried again with the next message.";
  }
  draw();
}

function useLocal() {
  const words = $("search").value.trim().toLowerCase();
  isLocal = true;
  known = remembered().filter((entry) => entry.title.toLowerCase().includes(words));
  $("list-note").textContent = "Only conversations of this browser: the server keeps no list here.";
}

const entryOf = (session) => ({ id: session.session_id, title: session.title || "Untitled", at: session.updated_at });

async function more() {
  const mine = asked;
  const page = await api.list(cursor, $("search").value.trim()).catch(() => null);
  if (mine !== asked || !page) return;
  known = [...known, ...page.sessions.map(entryOf).filter((entry) => !known.some((one) => one.id === entry.id))];
  cursor = page.cursor;
  draw();
}

/** Says which conversation is open. */
export function select(id) {
  current = id;
  draw();
}

/** Takes note of a conversation that has been open or active; the index of the table follows within moments only. */
export function note(id, title, at) {
  remember(id, title, at);
  const entry = known.find((one) => one.id === id);
  if (entry && entry.at >= at && entry.title === title) return;
  if (!entry && $("search").value) return;
  known = [{ id, title, at }, ...known.filter((one) => one.id !== id)].sort((one, other) => other.at - one.at);
  if (known.length) $("list-note").textContent = isLocal ? $("list-note").textContent : "";
  draw();
}

export function forget(id) {
  known = known.filter((one) => one.id !== id);
  store(remembered().filter((one) => one.id !== id));
  draw();
}

function remembered() {
  try { return (JSON.parse(localStorage.getItem("conversations")) || []).map((one) => ({ at: 0, ...one })); } catch { return []; }
}

function store(entries) {
  try { localStorage.setItem("conversations", JSON.stringify(entries.slice(0, KEPT))); } catch { /* private mode */ }
}

function remember(id, title, at) {
  store([{ id, title, at }, ...remembered().filter((one) => one.id !== id)]);
}

function draw() {
  const focused = document.activeElement?.closest?.("#list a")?.hash;
  $("list").replaceChildren(...known.map(row));
  if (cursor) $("list").append(el("li", { className: "more" }, button("Show more", more)));
  if (focused) [...$("list").querySelectorAll("a")].find((link) => link.hash === focused)?.focus();
}

function row({ id, title, at }) {
  const link = el("a", { href: `#${encodeURIComponent(id)}`, title },
    named(title), el("span", { className: "when", textContent: ago(at) }));
  if (id === current) link.setAttribute("aria-current", "page");
  return el("li", { className: id === current ? "current" : "" }, link,
    iconButton("edit", `Rename ${title}`, () => rename(id, title)), iconButton("delete", `Delete ${title}`, () => remove(id, title)));
}

/** A title in a row: where it is cut off, what tells a copy from its original stays. */
function named(title) {
  const [mark = ""] = title.match(/ \(copy(?: \d+)?\)$/) || [];
  const words = el("span", { textContent: title.slice(0, title.length - mark.length) });
  return mark ? el("span", { className: "copied" }, words, el("span", { textContent: mark })) : words;
}

function ago(at) {
  const seconds = Date.now() / 1000 - at;
  if (!at) return "";
  if (seconds < MINUTE) return "just now";
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return new Date(at * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

async function rename(id, title) {
  const dialog = $("ask-name"), field = $("new-name"), wrong = dialog.querySelector(".wrong");
  field.value = title;
  wrong.textContent = "";
  for (;;) {
    const answer = answerOf(dialog);
    field.select();
    if (await answer !== "yes") return;
    try {
      const renamed = await api.rename(id, field.value.trim());
      const entry = known.find((one) => one.id === id);
      if (entry) entry.title = renamed.title || "Untitled";
      draw();
      say("The conversation was renamed.");
      events.renamed(id, renamed.title);
      return;
    } catch (error) {
      wrong.textContent = `Not renamed: ${error.message}.`;
    }
  }
}

async function remove(id, title) {
  $("ask-delete-text").textContent = `“${title}” is deleted for good, on every device.`;
  if (await answerOf($("ask-delete")) !== "yes") return;
  try {
    await api.remove(id);
    forget(id);
    say("The conversation was deleted.");
    events.deleted(id);
  } catch (error) {
    $("list-note").textContent = `“${title}” was not deleted: ${error.message}.`;
  }
}
