// Server-sent events, read from the body of a POST, which EventSource cannot send.
//
// A line ends with CR, LF or CRLF and with nothing else: U+2028, U+2029 and U+0085 are characters of a text like any other.

export class EventParser {
  #text = "";

  /** The events that are complete with this piece of the stream, as [name, data]. */
  feed(piece) {
    this.#text += piece;
    const held = this.#text.endsWith("\r") ? 1 : 0;  // an LF may follow in the next piece
    const blocks = this.#text.slice(0, this.#text.length - held).replace(/\r\n?/g, "\n").split("\n\n");
    this.#text = blocks.pop() + (held ? "\r" : "");
    return blocks.map(eventOf).filter(Boolean);
  }
}

function eventOf(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;  // a comment, or nothing
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("event:")) name = value;
    else if (line.startsWith("data:")) data.push(value);
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}

export async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.feed(value);
    }
  } finally {
    reader.cancel().catch(() => {});  // the connection may be lost already
  }
}
