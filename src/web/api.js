// The node behind this page: what it says by itself, and what it can be asked to do.

const TASKS_MAX = 3; // a browser opens six connections to one host, for all tabs
const AGAIN = 3000;

// The right to ask comes behind the # of the link that the node printed. It stays
// in this tab: cookies would go to every server on this machine.
export function takeToken() {
  const found = /^#t=([0-9a-f]{32})$/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem("token", found[1]);
  history.replaceState(null, "", location.pathname);
}

function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token") ?? ""}`, ...options.headers };
  return fetch(path, { ...options, headers, cache: "no-store" });
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const all = (rest + value).split("\n");
    rest = all.pop();
    yield* all;
  }
}

// Calls onState({status, swarms, peers}) whenever something changed, and
// onLost(reason) when nothing comes: "token", "many" (pages) or "away".
export async function listen(onState, onLost) {
  for (;;) {
    try {
      const answer = await ask("/api/events");
      if (answer.ok) {
        for await (const line of lines(answer))
          if (line.startsWith("data: ")) onState(JSON.parse(line.slice(6)));
      }
      onLost(answer.status === 401 ? "token" : answer.status === 503 ? "many" : "away");
      if (answer.status === 401) return;
    } catch {
      onLost("away");
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

// The rows of a link's QR code, "1" for dark.
export async function code(text) {
  const answer = await ask(`/api/qr?text=${encodeURIComponent(text)}`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return (await answer.json()).rows;
}

let tasks = 0;

// Something the node does for as long as we listen to it: {verb, argument}.
// onEvent gets each line; the promise ends with the exit status, or with null
// when there are too many already. controller.abort() ends it.
export async function task(wanted, onEvent, controller) {
  if (tasks === TASKS_MAX) return null;
  tasks++;
  try {
    const answer = await ask("/api/tasks", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ folder: "/", options: {}, ...wanted }),
      signal: controller.signal,
    });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    let status = 1;
    for await (const line of lines(answer)) {
      const event = JSON.parse(line);
      if (event.event === "end") status = event.status;
      else onEvent(event);
    }
    return status;
  } finally {
    tasks--;
  }
}
