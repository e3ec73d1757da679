// The log: where the turns are, the cards between them, and which part of it is seen.

import { $, el } from "./elements.js";

const NEAR = 120;                     // pixels from the end that count as being there

export const log = $("log"), scroller = $("scroll");

const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;

export function scrollDown() { scroller.scrollTop = scroller.scrollHeight; }

/** Changes the log; who reads its end goes on to read its end, who reads elsewhere stays there. */
export function keepingPlace(change, { above = false } = {}) {
  const following = isAtEnd(), fromEnd = scroller.scrollHeight - scroller.scrollTop;
  change();
  if (above) scroller.scrollTop = scroller.scrollHeight - fromEnd;
  else if (following) scrollDown();
  showLatest();
}

export function showLatest() { $("latest").hidden = isAtEnd(); }

export function addCard(kind, headline, text, actions = [], role = "") {
  const words = el("div", {}, el("strong", { textContent: headline }), el("p", { textContent: text }));
  if (role) words.setAttribute("role", role);
  const node = el("li", { className: `card ${kind}` }, words);
  if (actions.length) node.append(el("div", { className: "actions" }, ...actions));
  keepingPlace(() => log.append(node));
  return node;
}

export function removeCards(...kinds) {
  for (const kind of kinds) log.querySelectorAll(`.card.${kind}`).forEach((card) => card.remove());
}

/** Follows the end of what is being said, until somebody scrolls away. */
export function followed() {
  let last = scroller.scrollTop;
  return () => {
    const was = last;
    last = scroller.scrollTop;
    if (last >= was - 1 && scroller.scrollHeight - last - scroller.clientHeight < scroller.clientHeight) scrollDown();
    last = scroller.scrollTop;
    showLatest();
  };
}
