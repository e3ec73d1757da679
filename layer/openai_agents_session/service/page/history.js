// What is known of a conversation: its newest items without a gap, each at its position. Nothing here touches the page.

export class History {
  items = [];
  first = 0;
  total = 0;

  get end() { return this.first + this.items.length; }

  /** Takes in the newest page; what it does not reach stays, unless there would be a gap. */
  takeNewest({ items, first, total }) {
    const reaches = first <= this.end && first >= this.first;
    const before = reaches ? this.items.slice(0, first - this.first) : [];
    this.items = [...before, ...items];
    this.first = reaches ? this.first : first;
    this.total = total;
  }

  /** Takes in the page before; false when it is of another history than the one that is known. */
  takeOlder({ items, first }) {
    if (first + items.length !== this.first) return false;
    this.items = [...items, ...this.items];
    this.first = first;
    return true;
  }

  /** Forgets everything from a position on, which is going to be replaced. */
  cut(position) {
    this.items = this.items.slice(0, Math.max(0, position - this.first));
    this.total = Math.min(this.total, position);
  }

  /** Whether a message was said at a position or behind it; files do not count, which may be cut. */
  hasSaid(content, from) {
    const text = textOf(content);
    return this.items.some((item, index) => this.first + index >= from && isUser(item) && textOf(item.content) === text);
  }

  /** The turns: what begins with something that a person said. */
  turns() {
    const turns = [];
    this.items.forEach((item, index) => {
      if (!turns.length || isUser(item)) turns.push({ first: this.first + index, items: [] });
      turns.at(-1).items.push(item);
    });
    return turns;
  }
}

export const kindOf = (item) => item.type || "message";
export const isUser = (item) => kindOf(item) === "message" && item.role === "user";
export const isAnswer = (item) => kindOf(item) === "message" && item.role === "assistant";

export function textOf(content) {
  if (typeof content === "string") return content;
  return (content || []).map((part) => part.text ?? part.refusal ?? "").filter(Boolean).join("\n");
}

export function filesOf(content) {
  return typeof content === "string" ? [] : (content || []).filter((part) => /_(image|file|audio)$/.test(part.type || ""));
}
