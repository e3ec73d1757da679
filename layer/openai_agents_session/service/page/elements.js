// Elements. Everything that people and tools write is put into the page as text; what models write, markdown.js renders.

export const $ = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const { className, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function button(label, action, kind = "") {
  const node = el("button", { type: "button", className: kind, textContent: label });
  node.addEventListener("click", action);
  return node;
}

export function iconButton(name, label, action) {
  const node = button("", action, "icon");
  node.setAttribute("aria-label", label);
  node.title = label;
  node.append(icon(name));
  return node;
}

export function icon(name) {
  const make = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const [picture, use] = [make("svg"), make("use")];
  picture.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

/** Tells those who cannot see it what has changed. */
export function say(text) { $("status").textContent = text; }

/** Copies a text, and says so: on the button where it has words, and to those who cannot see it. `what` is "the code". */
export async function copy(text, node, what) {
  let copied = true;
  try { await navigator.clipboard.writeText(text); } catch { copied = copiedByHand(text); }
  say(copied ? `${what[0].toUpperCase()}${what.slice(1)} was copied.` : `The browser does not allow to copy ${what}.`);
  if (!node.textContent) return;
  node.textContent = copied ? "Copied" : "Not allowed";
  setTimeout(() => { node.textContent = "Copy"; }, 1500);
}

// Without HTTPS, browsers have no clipboard to write to.
function copiedByHand(text) {
  const field = el("textarea", { value: text, className: "hidden" });
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  before?.focus({ preventScroll: true });
  return copied;
}

/** A dialog's answer: its value, or "" when it is closed without one. */
export function answerOf(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
