// The turn that is being answered, as the stream tells it. When it is over, the stored turn takes its place.

import { el } from "./elements.js";
import { show } from "./markdown.js";
import { addAnswer, setTool } from "./turns.js";

const SLOWEST_SHARE = 4;  // rendering has at most a quarter of the time: a long answer is then drawn less often

export class Live {
  #turns;
  #answer = null;
  #text = "";
  #frame = 0;
  #due = 0;
  #dots = el("div", { className: "thinking" }, el("i"), el("i"), el("i"));
  #drawn;
  #note = null;

  /** `drawn` is called whenever the turn has grown. */
  constructor(turns, log, user, drawn) {
    this.#turns = turns;
    this.#drawn = drawn;
    this.node = el("li", { className: "turn live" });
    if (user) this.node.append(user);
    this.#dots.setAttribute("aria-hidden", "true");
    this.node.append(this.#dots);
    log.append(this.node);
  }

  text(delta) {
    this.#answer ??= this.#begun();
    this.#text += delta;
    this.#frame ||= requestAnimationFrame((now) => this.#draw(now));
  }

  #begun() {
    this.#dots.remove();
    const answer = addAnswer(this.node);
    answer.classList.add("speaking");
    return answer;
  }

  #draw(now) {
    this.#frame = 0;
    if (!this.#answer) return;
    if (now < this.#due) {
      this.#frame = requestAnimationFrame((then) => this.#draw(then));
      return;
    }
    const began = performance.now();
    show(this.#answer.body, this.#text);
    this.#due = performance.now() + (SLOWEST_SHARE - 1) * (performance.now() - began);
    this.#drawn();
  }

  #settle() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#answer) return;
    show(this.#answer.body, this.#text);
    this.#answer.classList.remove("speaking");
    this.#answer = null;
    this.#text = "";
  }

  /** Says what is waited for, in place of what an answer would say. */
  waits(words) {
    this.#note ??= el("p", { className: "waits" });
    this.#note.textContent = words;
    this.#dots.after(this.#note);
  }

  toolStarted({ call_id: id, tool, arguments: args }) {
    this.#settle();
    const card = this.#turns.tool(id) || this.#turns.addTool(this.node, id, tool, args);
    setTool(card, "running", "running …");
    this.node.append(this.#dots);
    this.#drawn();
  }

  toolFinished({ call_id: id, output }) {
    this.#turns.finishTool(this.node, id, output);
    this.#drawn();
  }

  /** The answer as a whole: one that was given before comes without its steps. */
  done(answer) {
    if (answer && !this.#answer && !this.node.querySelector(".assistant")) this.text(answer);
    this.end();
  }

  end() {
    this.#settle();
    this.#dots.remove();
    this.#drawn();
  }

  remove() {
    this.end();
    this.node.remove();
  }
}
