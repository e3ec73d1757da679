// What went wrong, in words that say what to do.

import { Refused } from "./api.js";
import { FORK } from "./turns.js";

const HEADLINES = {
  400: "This cannot be sent", 401: "You are not signed in", 403: "You may not do this", 404: "There is no such conversation",
  410: "This was removed meanwhile", 413: "This is too long", 422: "This was not answered", 429: "Too many requests",
  502: "The model gave no answer", 503: "The service is busy", 504: "The time was over",
};

const ADVICE = {
  context_full: `Start a new conversation, or press “${FORK}” further up.`,
  max_turns: "Continue, where that is offered, lets it go on from there. Or ask for less at a time.",
  input_blocked: "Say it in other words: the message was not kept.",
  output_blocked: "Ask in other words.",
  tool_blocked: "Ask in other words.",
  no_key: "Whoever runs this service has to give it an API key.",
  key_rejected: "Whoever runs this service has to look at its API key.",
  quota_used_up: "Whoever runs this service has to look at the model's account.",
  run_failed: "Answer again begins anew: its tools may run again.",
  run_not_resumable: "Discard it, or wait for a version of the agent that can go on with it.",
};

const RUN_ENDED = ["The long run has ended without an answer",
  "Whoever runs this service finds the reason in the log of its durable function."];

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** A headline and what to do. `started` says whether the agent was at work already. */
export function explain(error, started = false) {
  if (!(error instanceof Refused)) {
    return ["The connection was lost", started
      ? "What the agent does now is stored all the same: it is shown here as soon as the server can be reached."
      : "Check the connection, then try again. Nothing was lost."];
  }
  const { status, body } = error;
  if (body.code === "run_ended") return RUN_ENDED;
  const wait = body.retry_after ? ` Try again in ${body.retry_after} s.` : "";
  if (status === 409 && body.retry_after) {
    return ["This conversation is busy", `Another window, or another program, is waiting for its answer: ${error.message}.${wait}`];
  }
  const advice = ADVICE[body.code] ? ` ${ADVICE[body.code]}` : "";
  if (status === 413 && !advice) return [HEADLINES[413], `${sentence(error.message)} Shorten it, or attach less.`];
  return [status === 409 ? "This is not possible now" : HEADLINES[status] || "Something went wrong here",
    `${sentence(error.message)}${advice}${wait}${status >= 500 && !advice ? " What was stored before is safe." : ""}`];
}

const ENDINGS = {
  abandoned: "It was stopped, or given up. What was done is stored.",
  output_blocked: "The answer was blocked.",
  max_turns: "The agent came to no end. What was done is stored.",
  context_full: `The conversation is too long for the model. ${ADVICE.context_full}`,
  failed: "The run failed, and was given up. What was done is stored.",
};

/** A headline and a text for a message without an answer, by how its turn ended. */
export const ending = (outcome) => ["This message has no answer", ENDINGS[outcome]
  ? `${ENDINGS[outcome]} ${ADVICE.run_failed}` : "It was stopped, or something went wrong on the way. What was done is stored."];

/** A headline and what to do about a run that was decided on, and that nobody goes on with. */
export const overRun = ({ approvals: calls }) => ["This run has ended without an answer",
  `Discard it: ${calls.length === 1 ? `${calls[0].tool} has` : "the calls that waited have"} not run.`];

/** Whether the same request can have another outcome. */
export const canRepeat = (error) => !(error instanceof Refused) || (error.status === 409 && error.body.retry_after)
  || [429, 502, 503, 504].includes(error.status);
