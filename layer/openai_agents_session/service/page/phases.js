// What the page is doing, said below the field, and which of its buttons work meanwhile.

import { $ } from "./elements.js";
import { log } from "./log.js";
import * as long from "./long.js";

export const HINTS = {
  loading: "Loading the conversation …",
  idle: matchMedia("(pointer: coarse)").matches ? "" : "Enter sends, Shift+Enter adds a line.",
  chosen: "It goes on when you close this page.",
  sending: "Sending …",
  waited: "Waiting. This conversation may be busy in another window …",
  working: "The agent is at work … Esc stops it.",
  elsewhere: "The agent is at work in another window …",
  starting: "The long run is starting … Esc stops it.",
  long: "A long run is under way … Esc stops it.",
  asking: "Decide on the call above first.",
  ended: "Discard the run above first.",
};
export const BUSY = new Set(["loading", "sending", "waited", "working"]);
export const LONG = new Set(["starting", "long"]);
const AT_WORK = new Set(["sending", "waited", "working", "elsewhere", ...LONG]);
export const WAITS = {
  starting: "The long run is starting. Keep this page open until it has begun.",
  long: "The agent is at work. You can close this page: the run goes on, and what it brings is kept here.",
};

/** One of `HINTS`' names. */
export let phase = "loading";

export function setPhase(next) {
  phase = next;
  showHint();
  const running = AT_WORK.has(next);
  $("stop").hidden = !running;
  $("send").hidden = running;
  $("send").disabled = next !== "idle";
  $("message").readOnly = next === "sending";
  log.setAttribute("aria-busy", String(running));
  log.classList.toggle("held", next !== "idle");
}

export function showHint() { $("hint").textContent = HINTS[phase === "idle" && long.isChosen() ? "chosen" : phase]; }
