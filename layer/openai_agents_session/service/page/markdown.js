// What models write, as elements: marked reads the markdown, DOMPurify lets through what is listed here and nothing else.
//
// HTML in it stays text. Pictures become links: to load one would tell its server what was asked. Without the two
// libraries, which the build puts into vendor/, a text is shown as it was written.

import { copy, el } from "./elements.js";

const TAGS = [
  ..."p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong del a".split(" "),
  ..."table thead tbody tr th td".split(" "),
];
const LINKS = /^(?:https?:\/\/|mailto:)/i;

const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const renderer = {
  html: ({ text }) => escaped(text),
  image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || "picture")}</a>`,
  checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  code: ({ text, lang }) => `<pre><code title="${escaped((lang || "").split(/\s/)[0])}">${escaped(text)}\n</code></pre>`,
};

let libraries = null;

export async function load() {
  try {
    const [{ Marked }, { default: purify }] = await Promise.all([import("./vendor/marked.js"), import("./vendor/purify.js")]);
    purify.addHook("afterSanitizeAttributes", guardLink);
    libraries = { marked: new Marked({ gfm: true, breaks: true, renderer }), purify };
  } catch (error) {
    console.info("Markdown is shown as text:", error.message);
  }
}

function guardLink(node) {
  if (node.nodeName !== "A") return;
  if (!LINKS.test(node.getAttribute("href") || "")) return node.removeAttribute("href");
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
}

/** Replaces what an element shows by a text. */
export function show(node, text) {
  let content = null;
  try { content = libraries && rendered(text); } catch { /* a text that the reader of markdown fails on is shown as it is */ }
  node.classList.toggle("plain", !content);
  node.replaceChildren(content || text);
}

function rendered(text) {
  const fragment = libraries.purify.sanitize(libraries.marked.parse(text), {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "align", "start", "title"], ALLOWED_URI_REGEXP: LINKS,
    ADD_URI_SAFE_ATTR: ["align", "start", "title"],  // which the pattern of links would have taken away
    ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true,
  });
  fragment.querySelectorAll("pre").forEach(frameCode);
  fragment.querySelectorAll("table").forEach(frameTable);
  return fragment;
}

function frameCode(pre) {
  const language = pre.firstElementChild?.title || "";
  pre.firstElementChild?.removeAttribute("title");
  pre.tabIndex = 0;  // so that it can be scrolled by keys
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", language ? `Code in ${language}` : "Code");
  const button = el("button", { type: "button", textContent: "Copy" });
  button.setAttribute("aria-label", "Copy the code");
  button.addEventListener("click", () => copy(pre.textContent.replace(/\n$/, ""), button, "the code"));
  const frame = el("div", { className: "code" }, el("div", {}, el("span", { textContent: language || "text" }), button));
  pre.replaceWith(frame);
  frame.append(pre);
}

function frameTable(table) {
  const frame = el("div", { className: "table", tabIndex: 0 });
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "Table");
  table.replaceWith(frame);
  frame.append(table);
}
