// Long runs: messages that a durable function answers. Such a run goes on without this page, which looks how it stands.

import { $ } from "./elements.js";
import { isAnswer } from "./history.js";

const FIRST_LOOK_MS = 1000;
const LAST_LOOK_MS = 10_000;
const SLOWER = 1.3;                   // each look after the one before, while nothing is new
const QUIET_MS = 60_000;              // then it is said what can be done
const ASK_MS = 3000;                  // how often to ask for a run that is nowhere to be seen

let changed = () => {};

/** Offers the choice, where the server has a function for it. */
export function offer(isPossible) {
  $("long").hidden = !isPossible;
  if (!isPossible) choose(false);
}

export const isChosen = () => $("long-run").checked;

export function choose(wanted) {
  $("long-run").checked = wanted;
  changed();
}

/** `told` is called whenever the choice may be another. */
export function start(told) {
  changed = told;
  $("long").title = $("long-about").textContent;
  $("long-run").addEventListener("change", changed);
}

/** When to look next: soon after there were news, then less and less often. */
export class Pace {
  #wait = FIRST_LOOK_MS;
  #since = Date.now();

  news() {
    this.#wait = FIRST_LOOK_MS;
    this.#since = Date.now();
  }

  next() {
    const wait = this.#wait;
    this.#wait = Math.min(LAST_LOOK_MS, wait * SLOWER);
    return wait;
  }

  /** Whether there were no news for so long that something may be wrong. */
  get isQuiet() { return Date.now() - this.#since > QUIET_MS; }
}

/** A run that this page has asked for. The same request under the same key tells how it stands, and starts it once. */
export class Run {
  hasBegun = false;
  #total;
  #asked = Date.now();

  /**
   * `user` shows the message until it is stored; `unsent` is called, with the reason if there is one, when nothing came of
   * it; `total` is how many items there were before.
   */
  constructor({ payload, key, user, unsent }, total) {
    Object.assign(this, { payload, key, user, unsent });
    this.#total = total;
  }

  /** Takes note of what is stored. */
  see(history, isUnderWay) { this.hasBegun ||= isUnderWay || this.isIn(history); }

  /** Whether its question is stored. */
  isIn(history) { return history.hasSaid(this.payload.message, this.#total); }

  /** Whether its answer is. */
  isAnsweredIn(history) { return this.isIn(history) && isAnswer(history.items.at(-1)); }

  /** Whether it is time to ask how it stands. */
  isToBeAsked() {
    if (Date.now() - this.#asked < ASK_MS) return false;
    this.#asked = Date.now();
    return true;
  }
}

/** What to say of a run without a sign of life: a headline and what can be done. */
export const quiet = (hasBegun) => hasBegun
  ? ["Nobody is at work on this run", "Nothing has happened for a minute. It goes on by itself if its function still can. "
    + "Stop gives it up: what it has done stays, and the message can be answered again."]
  : ["The run has not begun", "The message was taken a minute ago, and nothing has come of it. It may still begin. "
    + "Stop puts the message back; whoever runs this service finds the reason in the log of its durable function."];
