// Editing an earlier message, in its place.

import { button, count, el } from "./elements.js";
import { log } from "./log.js";
import { FORK } from "./turns.js";

export const isOpen = () => Boolean(log.querySelector(".editing"));

const replaces = (after) => `This message and what follows it (${count(after, "item")}) are replaced. What tools did is not undone. `
  + `To keep them, press “${FORK}” below the last answer first.`;

/**
 * Shows a field in place of a message. `after` is how many items what is sent will replace beside the message; `send` takes
 * the new text, and tells whether it was sent.
 */
export function begin(node, text, after, send) {
  const field = el("textarea", { value: text, maxLength: 100_000 });
  field.setAttribute("aria-label", "Edit your message");
  const close = () => { form.remove(); node.classList.remove("editing"); shown.forEach((child) => { child.hidden = false; }); };
  const form = el("form", {}, field,
    el("p", { textContent: after ? replaces(after) : "" }),
    el("div", { className: "actions" }, button("Cancel", close), el("button", { className: "primary", textContent: "Send" })));
  const shown = [...node.children].filter((child) => !child.classList.contains("hidden") && !child.matches("img, .file"));
  shown.forEach((child) => { child.hidden = true; });
  node.classList.add("editing");
  node.append(form);
  field.focus();
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); close(); }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = field.value.trim();
    if (said && send(said)) close();
  });
}
