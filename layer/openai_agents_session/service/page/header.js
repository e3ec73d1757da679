// What stands above the log: the conversation's title, and what it has used.

import { $, count } from "./elements.js";

export function showTitle(title) {
  $("title").textContent = title || "New conversation";
  document.title = title ? `${title} · Agent` : "Agent";
}

export function showUsage(usage) {
  const total = usage?.total_tokens;
  $("usage").textContent = total ? count(total, "token") : "";
  $("usage").title = total ? `${usage.input_tokens} read (${usage.cached_tokens} of them cached), ${usage.output_tokens} written `
    + `(${usage.reasoning_tokens} of them to reason), ${count(usage.requests, "model call")}` : "";
}
