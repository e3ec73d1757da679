// One turn, as its events come: an async generator of { event, data }.
export async function* say(url, session, message, headers = {}) {
  const answer = await fetch(`${url}/sessions/${encodeURIComponent(session)}`, {
    method: "POST",
    headers: { accept: "text/event-stream", "content-type": "application/json", ...headers },
    body: JSON.stringify({ message }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.json()).error}`);
  let text = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const blocks = text.split(/\r?\n\r?\n/); // an empty line ends an event
    text = blocks.pop();
    for (const block of blocks) {
      const fields = block.split(/\r?\n/).map((line) => /^(event|data): ?(.*)$/.exec(line));
      const of = (name) => fields.filter((field) => field?.[1] === name).map((field) => field[2]).join("\n");
      if (of("event")) yield { event: of("event"), data: JSON.parse(of("data")) };
    }
  }
}
