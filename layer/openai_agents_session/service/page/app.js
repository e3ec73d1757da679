// The page: one conversation, what people do with it, and how it keeps up with what happens elsewhere.
//
// The history that is stored is the truth. While a turn runs, its stream is shown; when it is over, however it ended, the
// history is read again. A long run has no stream: its steps are looked for. What happens in other windows is noticed by a
// look at the newest item: at once when a window of this browser says so, otherwise every few seconds while the page can
// be seen.

import * as api from "./api.js";
import * as attachments from "./attachments.js";
import * as editing from "./editing.js";
import { $, button, copy, count, el, say } from "./elements.js";
import { canRepeat, ending, explain, overRun } from "./errors.js";
import { History, filesOf, isAnswer, isUser, textOf } from "./history.js";
import { showTitle, showUsage } from "./header.js";
import * as list from "./list.js";
import { Live } from "./live.js";
import { addCard, followed, keepingPlace, log, removeCards, scrollDown, scroller, showLatest } from "./log.js";
import * as long from "./long.js";
import * as markdown from "./markdown.js";
import { BUSY, HINTS, LONG, WAITS, phase, setPhase, showHint } from "./phases.js";
import * as signin from "./signin.js";
import { Turns, pretty, scrollable, setTool, userNode } from "./turns.js";

const IDEAS = ["My name is Ada.", "What is 0.125 * 3276?", "Please refund 19.90 for order A-1042."];
const PAGE_ITEMS = 50;
const PATIENCE_MS = 1200;             // then it is said that we wait
const LOOK_MS = 8000;                 // how often to look for news
const LOOK_SOON_MS = 1000;            // while a turn runs elsewhere

const message = $("message");
const channel = "BroadcastChannel" in window ? new BroadcastChannel("conversations") : { postMessage() {} };
const turns = new Turns(log, { edit, again, fork });
const runs = new Map();  // session id -> the long run that this page has asked for

let conversation = nothing("");

function nothing(id) {
  return {
    id, history: new History(), seen: "", title: null, pending: null, live: null, request: null, returned: null,
    state: "idle", run: runs.get(id) || null, hasEnded: false, overId: null, pace: new long.Pace(),
  };
}

const here = (mine) => mine === conversation;

// --- the stored conversation ------------------------------------------------------------------------------------------

async function open(id) {
  conversation.request?.abort();
  const mine = conversation = nothing(id);
  turns.clear();
  $("empty").hidden = $("older").hidden = true;
  $("session").textContent = $("session").title = id;
  document.body.classList.remove("listing");
  list.select(id);
  showTitle(null);
  $("usage").textContent = "";
  long.choose(false);
  setPhase("loading");
  try {
    await update(mine);
    if (!here(mine)) return;
    scrollDown();
    if (!mine.pending) message.focus();
  } catch (error) {
    if (!here(mine)) return;
    setPhase("idle");
    addCard("failed", ...explain(error), [button("Load again", () => open(id), "primary")], "alert");
  }
}

/** Reads what is stored, and shows it. What belongs to a turn that has just ended goes at the same moment. */
async function update(mine) {
  const page = await api.history(mine.id, PAGE_ITEMS);
  const pending = page.state === "waiting" ? (await api.approvals(mine.id)).pending : null;
  if (!here(mine)) return;
  const before = mine.history.end;
  mine.seen = stampOf(page);
  mine.state = page.state;
  mine.history.takeNewest(page);
  mine.pace.news();
  mine.run?.see(mine.history, page.durable_run);
  if (isThere(mine.history, mine.returned)) hasArrived(mine);
  const isToCome = mine.run && !mine.run.hasBegun;
  keepingPlace(() => {
    turns.show(mine.history.turns());
    if (!isToCome) mine.live?.remove();
    if (!isToCome) mine.live = null;
    removeCards("ask", "note", "ended");
  });
  if (phase === "long") sayNews(mine.history.items.slice(Math.max(0, before - mine.history.first)));
  long.offer(page.durable);
  turns.count(page.turns || []);
  $("older").hidden = mine.history.first === 0;
  $("empty").hidden = mine.history.total > 0 || Boolean(mine.run);
  showUsage(page.usage);
  if (mine.history.total) noted(mine, page);
  settle(mine, page, pending);
  fill(mine);
}

const isThere = (history, sent) => sent && !sent.isRefused && history.hasSaid(sent.payload.message, sent.total);

const stampOf = ({ total, updated_at: at, state, title }) => JSON.stringify([total, at, state, title]);

/** What can be done next, by what the server says of the conversation. */
function settle(mine, page, pending) {
  mine.pending = pending;
  if (mine.run && !mine.run.hasBegun) return showLong(mine, "starting");
  if (pending && isOver(mine, pending)) return showOver(mine, pending);
  const isDecided = pending?.durable && pending.status !== "pending";
  if ((page.durable_run && !mine.hasEnded) || isDecided) return showLong(mine, "long");
  if (page.state === "running") return showElsewhere(mine);
  if (pending) return ask(mine, pending);
  if (mine.run && !mine.run.isAnsweredIn(mine.history)) {
    showLong(mine, "long");
    return askAgain(mine);  // why it has no answer
  }
  expect(mine, null);
  setPhase("idle");
  const last = mine.history.items.at(-1);
  if (last && (page.state === "unfinished" || isUser(last) || !isAnswer(last))) {
    addCard("note", ...ending(outcomeOf(mine, page)), [goOn(mine)]);
  }
}

/** How the newest turn ended, if it has. */
function outcomeOf(mine, { state, turns: spans }) {
  const span = state === "unfinished" ? null : spans?.at(-1);
  return span?.last === mine.history.total ? span.outcome : "";
}

/** A turn that is open is continued; one that is over can be answered again. */
function goOn(mine) {
  return mine.state === "unfinished" ? button("Continue", () => request(mine, "", { continue: true }), "primary")
    : button("Answer again", () => again({ turn: mine.history.turns().at(-1) }), "primary");
}

function showElsewhere(mine) {
  setPhase("elsewhere");
  mine.live = new Live(turns, log, null, () => {});
  say(HINTS.elsewhere);
  look(LOOK_SOON_MS);
}

function showLong(mine, next) {
  if (phase !== next) say(WAITS[next]);
  setPhase(next);
  mine.live ??= new Live(turns, log, next === "starting" ? mine.run.user : null, () => {});
  keepingPlace(() => mine.live.waits(WAITS[next]));
  look(mine.pace.next());
}

function sayNews(items) {
  const calls = items.filter((item) => item.type === "function_call").map((item) => item.name);
  if (calls.length) say(`The agent has called ${calls.join(", ")}.`);
  const last = items.at(-1);
  if (last && isAnswer(last)) say(`Agent: ${textOf(last.content)}`);
}

function noted(mine, page) {
  const first = mine.history.items.find(isUser);
  mine.title = page.title || (mine.history.first === 0 && first && textOf(first.content).slice(0, 80)) || mine.title;
  showTitle(mine.title);
  list.note(mine.id, mine.title || "Untitled", page.updated_at || Date.now() / 1000);
}

let loadingOlder = false;

async function older(mine = conversation) {
  if (loadingOlder || !mine.history.first) return;
  loadingOlder = true;
  try {
    const page = await api.history(mine.id, PAGE_ITEMS, mine.history.first);
    if (!here(mine)) return;
    if (!mine.history.takeOlder(page)) return update(mine);
    keepingPlace(() => {
      turns.show(mine.history.turns());
      $("older").hidden = mine.history.first === 0;
    }, { above: true });
  } catch (error) {
    if (here(mine)) say(explain(error).join(": "));
  } finally {
    loadingOlder = false;
  }
  if (here(mine)) fill(mine);
}

/** Reads on while there is room for more. */
function fill(mine) {
  if (mine.history.first && scroller.scrollTop < 400) older(mine);
}

// --- what happens elsewhere -------------------------------------------------------------------------------------------

let lookTimer;

function look(soon = LOOK_MS) {
  clearTimeout(lookTimer);
  lookTimer = setTimeout(lookNow, soon);
}

async function lookNow() {
  const mine = conversation;
  if (!document.hidden && !BUSY.has(phase) && !editing.isOpen()) {
    try {
      const page = await api.history(mine.id, 1);
      if (here(mine) && !BUSY.has(phase)) await (stampOf(page) === mine.seen ? nothingNew(mine) : update(mine));
    } catch { /* the next look may find the server again */ }
  }
  look(LONG.has(phase) ? conversation.pace.next() : phase === "elsewhere" ? LOOK_SOON_MS : LOOK_MS);
}

/** Of a run that nobody works on it is asked whether it has ended; that it stands still is said. */
async function nothingNew(mine) {
  if (LONG.has(phase) && mine.state !== "running") {
    if (mine.run?.isToBeAsked()) await askAgain(mine);
    else if (!mine.run && mine.pending) await lookAtRun(mine);
  }
  if (!here(mine) || !LONG.has(phase) || !mine.pace.isQuiet || mine.state === "running") return;
  if (!log.querySelector(".card.note")) addCard("note", ...long.quiet(phase === "long"), [], "status");
}

/** Whether a run that was decided on has ended: the conversation does not change then, so nothing else tells. */
async function lookAtRun(mine) {
  const { pending } = await api.approvals(mine.id);
  if (here(mine) && pending?.status !== mine.pending?.status) await update(mine);
}

function tell(mine) { channel.postMessage({ id: mine.id }); }

channel.onmessage = ({ data }) => {
  if (data.id === conversation.id) look(0);
  list.load();
};

// --- one turn ---------------------------------------------------------------------------------------------------------

/** Asks for a turn and shows it; `unsent` is called when it was refused before it began. */
async function request(mine, rest, payload, { key = api.newId(), user = null, unsent = () => {} } = {}) {
  if (BUSY.has(phase)) return;
  let started = false, stopped = false;
  removeCards("failed", "note", "ask", "ended");
  mine.pending = null;
  const live = mine.live = new Live(turns, log, user, () => here(mine) && following());
  const following = followed();
  const aborter = mine.request = new AbortController();
  aborter.signal.addEventListener("abort", () => { stopped = true; });
  $("empty").hidden = true;
  scrollDown();
  setPhase("sending");
  const patience = setTimeout(() => {
    if (!here(mine) || started) return;
    setPhase("waited");
    say(HINTS.waited);
  }, PATIENCE_MS);
  const receive = (name, data) => {
    if (!here(mine)) return;
    if (!started) { setPhase("working"); tell(mine); }
    started = true;
    if (name === "text") live.text(data.delta);
    else if (name === "tool_started") { live.toolStarted(data); say(`The tool ${data.tool} is running.`); }
    else if (name === "tool_finished") live.toolFinished(data);
    else if (name === "done") { live.done(data.answer); if (data.answer) say(`Agent: ${data.answer}`); }
  };
  let problem = null, told = null;
  try {
    told = await api.turn(mine.id, rest, payload, { key, signal: aborter.signal, receive });
  } catch (error) {
    problem = error;
  }
  clearTimeout(patience);
  mine.request = null;
  const isTaken = told?.durable && payload.durable;
  if (isTaken) expect(mine, new long.Run({ payload, key, user, unsent }, mine.history.total));
  tell(mine);
  if (!here(mine)) return;
  if (!isTaken) live.end();
  if (problem && !started && !stopped) { live.remove(); unsent(problem); }
  const { returned } = mine;
  noteOver(mine, problem);
  await caughtUp(mine);
  if (!here(mine)) return;
  if (problem && !stopped && phase !== "ended" && returned === mine.returned) failed(mine, problem, started, () => request(mine, rest, payload, { key, user, unsent }));
  if (mine.returned) look(LOOK_SOON_MS);  // it may have arrived all the same
  if (!mine.pending) message.focus({ preventScroll: true });
}

/** Remembers a long run until it has ended, also while another conversation is open; null forgets it. */
function expect(mine, run) {
  mine.run = run;
  mine.hasEnded = false;
  if (run) runs.set(mine.id, run); else runs.delete(mine.id);
}

/** Asks once more for what a long run was asked for: it tells how that stands, or why nothing came of it. */
async function askAgain(mine) {
  const { run } = mine;
  let problem = null;
  try {
    const told = await api.turn(mine.id, "", run.payload, { key: run.key });
    if (told.durable || told.pending) return;
  } catch (error) {
    if (canRepeat(error)) return;  // the next look asks again
    problem = error;
  }
  if (!here(mine) || mine.run !== run) return;
  expect(mine, null);
  mine.hasEnded = problem !== null;
  noteOver(mine, problem);
  await caughtUp(mine);
  if (!problem || !here(mine) || phase === "ended") return;
  if (!run.isIn(mine.history)) run.unsent(problem);
  failed(mine, problem, run.hasBegun, () => {});
}

async function caughtUp(mine) {
  try {
    await update(mine);
  } catch {
    if (!here(mine)) return;
    setPhase("idle");
    mine.seen = "";  // the next look shows what is stored
  }
  list.load();
}

function failed(mine, error, started, again) {
  const [headline, text] = explain(error, started);
  const actions = [];
  const isStored = mine.history.items.length && !isAnswer(mine.history.items.at(-1)) && !mine.pending && phase === "idle";
  if (started && isStored) {
    removeCards("note");
    actions.push(goOn(mine));
  } else if (!started && canRepeat(error) && !mine.pending && error.body?.code !== "not_sent") {
    actions.push(button("Try again", () => message.value.trim() ? $("composer").requestSubmit() : again(), "primary"));
  }
  if (error.body?.code === "not_sent") actions.push(button("Send it again", again, "primary"));  // the run waits for that
  addCard("failed", headline, text, actions, "alert");
  scrollDown();
}

function send(text) {
  const mine = conversation, { total } = mine.history;
  const parts = attachments.take();
  const content = parts.length ? [...(text ? [{ type: "input_text", text }] : []), ...parts] : text;
  const isLong = long.isChosen();
  const payload = isLong ? { message: content, durable: true } : { message: content };
  // What was not known to arrive is sent again under the same key, so that it is answered once.
  const same = JSON.stringify(mine.returned?.payload) === JSON.stringify(payload);
  const key = same ? mine.returned.key : api.newId();
  mine.returned = null;
  message.value = "";
  long.choose(false);
  const unsent = (problem) => {
    if (!problem || canRepeat(problem)) conversation.returned = { payload, key, text, total, isRefused: Boolean(problem?.status) };
    message.value ||= text;
    attachments.giveBack(parts);
    long.choose(isLong);
  };
  request(mine, "", payload, { key, user: userNode(text, parts), unsent });
}

/** What was given back, since nobody knew whether it had arrived, is stored: it is not to be sent again. */
function hasArrived(mine) {
  if (message.value === mine.returned.text) {
    message.value = "";
    attachments.take();
    long.choose(false);
  }
  mine.returned = null;
  removeCards("failed");
}

async function stop() {
  const mine = conversation;
  const { run, pending } = mine, decided = phase === "long" && pending;
  mine.request?.abort();
  $("stop").disabled = true;
  try {
    await (decided ? api.discard(mine.id, pending.run_id) : api.stop(mine.id));
    say("Stopped.");
    expect(mine, null);
    if (here(mine) && run && !run.hasBegun) run.unsent();
    if (here(mine) && !mine.request) await update(mine);
    tell(mine);
  } catch (error) {
    if (here(mine)) addCard("failed", ...explain(error), [], "alert");
  } finally {
    $("stop").disabled = false;
  }
}

// --- editing, answering again, forking --------------------------------------------------------------------------------

function replaced(mine, position) {
  mine.history.cut(position);
  turns.show(mine.history.turns());
}

function edit({ turn, node, text, content }) {
  const mine = conversation;
  if (phase !== "idle") return say("This is possible when the answer is complete.");
  const files = filesOf(content), after = mine.history.total - turn.first - 1;
  editing.begin(node, text, after, (said) => {
    if (phase !== "idle") return false;
    const parts = files.length ? [{ type: "input_text", text: said }, ...files] : said;
    replaced(mine, turn.first);
    request(mine, "/edit", { position: turn.first, message: parts }, { user: userNode(said, files) });
    return true;
  });
}

function again({ turn }) {
  const mine = conversation;
  if (phase !== "idle") return say("This is possible when the answer is complete.");
  const [question] = turn.items;
  replaced(mine, turn.first);
  const user = isUser(question) ? userNode(textOf(question.content), filesOf(question.content)) : null;
  request(mine, "/regenerate", {}, { user });
}

async function fork({ turn }) {
  const mine = conversation;
  try {
    const { session_id: id } = await api.fork(mine.id, turn.first + turn.items.length);
    say("Copied into a new conversation.");
    location.hash = encodeURIComponent(id);
    list.load();
  } catch (error) {
    if (here(mine)) addCard("failed", ...explain(error), [], "alert");
  }
}

// --- approvals --------------------------------------------------------------------------------------------------------

function ask(mine, run) {
  if (run.status !== "pending") return showElsewhere(mine);
  setPhase("asking");
  const about = run.durable ? "There is no hurry: the run waits, and this page can be closed." : "";
  for (const call of run.approvals) {
    const card = turns.tool(call.call_id);
    if (card) setTool(card, "waiting", "waits for approval");
    const name = `Approve ${call.tool}`;
    const approve = button("Approve", () => decide(mine, run, call, "approve"), "primary");
    const reject = button("Reject", () => decide(mine, run, call, "reject"));
    const drop = button("Discard", () => discard(mine, run));
    approve.setAttribute("aria-label", name);
    reject.setAttribute("aria-label", `Reject ${call.tool}`);
    drop.setAttribute("aria-label", "Discard the whole step");
    drop.title = "None of its calls runs, and the agent does not go on";
    const node = addCard("ask", `May the agent call ${call.tool}?`, about, [approve, reject, drop]);
    const words = node.querySelector("p");
    words.before(scrollable(pretty(call.arguments)));
    if (!about) words.remove();
    node.tabIndex = -1;
  }
  say(`The agent asks for approval to call ${run.approvals.map((call) => call.tool).join(", ")}.`);
  // Not the button: Enter, typed for something else, must approve nothing.
  log.querySelector(".card.ask")?.focus({ preventScroll: true });
  scrollDown();
}

/** Whether nobody can go on with a run that was decided on: as it is told, or as this page was told when it asked. */
const isOver = (mine, run) => run.status === "ended" || run.run_id === mine.overId;

function noteOver(mine, problem) {
  if (problem?.body?.code === "run_ended") mine.overId = problem.body.run_id;
}

function showOver(mine, run) {
  expect(mine, null);
  setPhase("ended");
  removeCards("failed");
  for (const call of run.approvals) {
    const card = turns.tool(call.call_id);
    if (card) setTool(card, "stopped", "not run");
  }
  addCard("ended", ...overRun(run), [button("Discard", () => discard(mine, run), "primary")], "alert");
  scrollDown();
}

function decide(mine, run, call, decision) {
  const card = turns.tool(call.call_id);
  if (card) setTool(card, decision === "approve" ? "running" : "rejected", decision === "approve" ? "running …" : "rejected");
  request(mine, "/approvals", { decision, run_id: run.run_id, call_ids: [call.call_id] });
}

async function discard(mine, run) {
  removeCards("ask", "ended");
  setPhase("loading");
  let problem = null;
  try { await api.discard(mine.id, run.run_id); } catch (error) { problem = error; }
  tell(mine);
  if (!here(mine)) return;
  await caughtUp(mine);
  if (problem && here(mine)) addCard("failed", ...explain(problem), [], "alert");
  message.focus({ preventScroll: true });
}

// --- what people do ---------------------------------------------------------------------------------------------------

function idInAddress() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return location.hash.slice(1); }
}

function openAddressed() {
  const id = idInAddress();
  if (!id) return startNew();
  if (id !== conversation.id) open(id);
}

function startNew() {
  history.replaceState(null, "", `#${api.newId()}`);
  openAddressed();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value.trim();
  if (phase === "idle" && (text || !attachments.isEmpty())) send(text);
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (document.body.classList.contains("listing")) toggleList(false);
  else if (!$("stop").hidden && !$("stop").disabled) stop();
});
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", () => { location.hash = api.newId(); });
$("copy").addEventListener("click", (event) => copy(conversation.id, event.currentTarget, "the session id"));
$("older").firstElementChild.addEventListener("click", () => older());
$("latest").addEventListener("click", () => { scrollDown(); message.focus({ preventScroll: true }); });
scroller.addEventListener("scroll", () => { showLatest(); fill(conversation); }, { passive: true });
new ResizeObserver(() => showLatest()).observe(scroller);

function toggleList(open) {
  document.body.classList.toggle("listing", open);
  $("menu").setAttribute("aria-expanded", String(open));
  if (open) $("new").focus(); else $("menu").focus();
}
$("menu").addEventListener("click", () => toggleList(!document.body.classList.contains("listing")));
$("shade").addEventListener("click", () => toggleList(false));

addEventListener("hashchange", openAddressed);
addEventListener("online", () => look(0));
addEventListener("focus", () => look(0));
document.addEventListener("visibilitychange", () => { if (!document.hidden) { look(0); list.load(); } });

list.start({
  renamed: (id, title) => {
    if (id === conversation.id) { conversation.title = title; showTitle(title); }
    channel.postMessage({ id });
  },
  deleted: (id) => {
    channel.postMessage({ id });
    if (id === conversation.id) startNew();
  },
});
attachments.start((notice) => { if (phase === "idle") notice ? $("hint").textContent = notice : showHint(); });
long.start(() => { if (phase === "idle") showHint(); });
$("ideas").append(...IDEAS.map((idea) => button(idea, () => { message.value = idea; message.focus(); })));
await markdown.load();
try {
  await signin.start();
  list.load();
  openAddressed();
  look();
} catch {
  addCard("failed", "You could not be signed in", "Reload the page to try again.", [], "alert");
}
