// One turn, as its events come: an async generator of { event, data }.
export async function* say(url, session, message, headers = {}) {
  const answer = await fetch(`${url}/sessions/${encodeURIComponent(session)}`, {
    method: "POST",
    headers: {
      accept: "text/event-stream",
      "content-type": "application/json",
      ...headers,
    },
    body: JSON.stringify({ message }),
  });
  if (!answer.ok) {
    throw new Error(`${answer.status}: ${(await answer.json()).error}`);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/); // an empty line ends an event
    text = blocks.pop();
    for (const block of blocks) {
      // Not `.`, which leaves out U+2028: people paste it, and it ends no line here.
      const fields = block
        .split(/\r?\n/)
        .map((line) => /^(event|data): ?([^]*)$/.exec(line))
        .filter(Boolean);
      const of = (name) =>
        fields
          .filter((field) => field[1] === name)
          .map((field) => field[2])
          .join("\n");
      if (of("event")) yield { event: of("event"), data: JSON.parse(of("data")) };
    }
  }
}
