// The node behind this page: what it says by itself, and what it can be asked to do.

// Calls onState({status, swarms, peers}) whenever something changed, and
// onLost(reason) while nothing comes. The browser connects again by itself.
export function listen(onState, onLost) {
  const source = new EventSource("/api/events");
  source.addEventListener("state", (event) => onState(JSON.parse(event.data)));
  source.addEventListener("error", async () => {
    // EventSource does not tell why; a plain question does.
    try {
      const answer = await fetch("/api/status");
      if (answer.status === 401) {
        source.close();
        onLost("token");
        return;
      }
    } catch {
      // nobody answers
    }
    onLost(source.readyState === EventSource.CLOSED ? "closed" : "away");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(onState, onLost), 5000);
  });
}

// Something the node does for as long as we listen to it: {verb, argument}.
// onEvent gets each line; the promise ends with the exit status. Call
// controller.abort() to end it.
export async function task(wanted, onEvent, controller) {
  const answer = await fetch("/api/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ folder: "/", options: {}, ...wanted }),
    signal: controller.signal,
  });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let status = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return status;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.event === "end") status = event.status;
      else onEvent(event);
    }
  }
}
