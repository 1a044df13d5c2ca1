// The node behind this page: what it says by itself, and what it can be asked to do.

const TASKS_MAX = 3; // a browser opens six connections to one host, for all tabs
const AGAIN = 3000;

// What stands behind the # of a link: {t: token}, {k: ticket}, {watch: film}. It stays in
// the browser, and is taken out of the address at once.
export function takeFragment() {
  const parts = location.hash.slice(1).split("&").map((part) => part.split(/=(.*)/s));
  const given = Object.fromEntries(parts.filter(([key, value]) => ["t", "k", "watch"].includes(key) && value));
  if (Object.keys(given).length) history.replaceState(null, "", location.pathname);
  return { ...given, watch: given.watch && plain(given.watch) };
}

function plain(text) {
  try {
    return decodeURIComponent(text).replace(/^web\+/, "");
  } catch {
    return text; // no link of ours
  }
}

// Anybody can write a token into a link; only a true one shows whose link it is.
async function trueToken(token) {
  const answer = await fetch("/api/page", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  return answer.ok ? token : null;
}

async function tokenFor(ticket) {
  const answer = await fetch("/api/token", { method: "POST", headers: { Authorization: `Ticket ${ticket}` }, cache: "no-store" });
  return answer.ok ? (await answer.json()).token : null;
}

// The right to ask comes with the link that the node printed, or for the ticket in the one
// that a command opened. It stays in this tab: cookies would go to every server on this
// machine. A tab that a link opened has none and asks those of this very page, which nobody
// else hears. True when the link itself brought the right.
export async function takeToken({ t, k }) {
  const brought = t ? await trueToken(t) : k ? await tokenFor(k) : null;
  const channel = new BroadcastChannel("token");
  if (brought) sessionStorage.setItem("token", brought);
  let answered = () => {};
  channel.addEventListener("message", ({ data }) => {
    const mine = sessionStorage.getItem("token");
    if (data === "who" && mine) channel.postMessage(mine);
    else if (data !== "who" && !mine) {
      sessionStorage.setItem("token", data);
      answered();
    }
  });
  if (sessionStorage.getItem("token")) return brought !== null;
  channel.postMessage("who");
  await Promise.race([new Promise((resolve) => (answered = resolve)), new Promise((resolve) => setTimeout(resolve, 500))]);
  return false;
}

// The node does not answer. What browsers say of that ("Failed to fetch") helps no reader.
export class Away extends Error {}

function away(error) {
  throw error.name === "AbortError" ? error : new Away(error.message);
}

function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token") ?? ""}`, ...options.headers };
  return fetch(path, { ...options, headers, cache: "no-store" }).catch(away);
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(away);
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

// Why not: the node's own words, or, where it says nothing that is meant for a page, the status.
async function refusal(answer) {
  return new Error((await answer.json().catch(() => ({}))).error ?? `${answer.status} ${answer.statusText}`);
}

// The rows of a link's QR code, "1" for dark.
export async function code(text) {
  const answer = await ask(`/api/qr?text=${encodeURIComponent(text)}`);
  if (!answer.ok) throw await refusal(answer);
  return (await answer.json()).rows;
}

// {rows: why something changed in a relay's ledger, or of others the class of our own account,
// relays: what we agree on with each}.
export async function ledger() {
  const answer = await ask("/api/ledger");
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

// 128 bits in hex.
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// A piece of a file for the node's shared folder: what the node has of it, or {error}.
export async function putDrop({ id, name, length, at }, piece, signal) {
  const answer = await ask(`/api/drops?${new URLSearchParams({ id, name, length, at })}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: piece, signal,
  });
  return answer.json();
}

export async function removeDrop(id) {
  const answer = await ask(`/api/drops?${new URLSearchParams({ id })}`, { method: "DELETE" });
  if (!answer.ok) throw await refusal(answer);
}

// A piece of a recording: the status of the answer. 409: begin another recording.
export async function putCamera(session, number, piece) {
  const answer = await ask(`/api/camera?${new URLSearchParams({ session, number })}`, {
    method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: piece,
  });
  await answer.text();
  return answer.status;
}

export async function endCamera(session) {
  await ask(`/api/camera?${new URLSearchParams({ session })}`, { method: "DELETE", keepalive: true });
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
    if (!answer.ok) throw await refusal(answer);
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
