// What the node says, as elements. Names chosen by strangers only ever become
// text, never markup.

import { clock, day, number, octets, t } from "./text.js";
import * as draw from "./draw.js";

const $ = (id) => document.getElementById(id);
const SHORT = 12; // digits of a relay's name
const NARROW = 560; // pixels, below which names of relays beside each other cannot be read

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

const shown = new WeakMap(); // an element: what its children were made of

// Children are made anew only when what they say changed: a page on which nothing happens
// must not keep the browser drawing.
function fill(parent, what, make) {
  const key = JSON.stringify([what, document.documentElement.lang]);
  if (shown.get(parent) === key) return;
  shown.set(parent, key);
  parent.replaceChildren(...make());
}

function write(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function hide(e, on) {
  if (e.hidden !== on) e.hidden = on;
}

function svg(name, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// How a peer is reached: as what it is shown, what the last relay on the way is, and what that
// makes of who knows what.
const WAYS = {
  direct: { why: "why_direct" },
  hidden: { name: "hidden_peer", last: "meeting_point", why: "why_hidden" },
  exit: { name: "exit_peer", last: "exit", why: "why_exit" },
  open: { name: "open_peer", last: "sharer", why: "why_open" },
  visitor: { name: "visitor_peer", why: "why_visitor" },
};

// Whose circuit ends here visits what this relay shares under its own name.
function wayTo(row) {
  if (!row.hidden) return "direct";
  if (row.exit) return "exit";
  if (row.open) return row.path.length ? "open" : "visitor";
  return "hidden";
}

const onWay = (row, key) => t(key, { guard: row.path[0] ?? "?", relay: row.path.at(-1) ?? "?" });

// How hidden we are, in two words: what is open decides, the worst of it.
export function badge(state) {
  const direct = state.swarms.some((s) => s.direct);
  const open = state.swarms.some((s) => s.open && s.sharing);
  const missing = state.status.guards === 0;
  const kind = direct ? "direct" : open ? "open" : missing ? "waiting" : "hidden";
  const hops = Math.min(...state.peers.filter((p) => p.hidden).map((p) => p.hops));
  const text = direct ? t("badge_direct") : open ? t("badge_open") : missing ? t("badge_waiting")
    : Number.isFinite(hops) ? t("badge_hops", { n: hops }) : t("badge_hidden");
  write($("badge"), text);
  if ($("badge").dataset.state !== kind) $("badge").dataset.state = kind;
  const why = obstacle(state.status, kind === "waiting");
  write($("obstacle"), why);
  hide($("obstacle"), !why);
}

// Why nothing hidden works, and what helps; "" when it does, or when nobody waits for it.
function obstacle(s, waiting) {
  const days = Math.round(Math.abs(s.clock_off ?? 0) / 86400);
  if (days) return t(s.clock_off > 0 ? "clock_slow" : "clock_fast", { n: days });
  if (!waiting) return "";
  if (!s.dht_good) return t("nobody_answers");
  return s.relays_missing ? t("few_relays", { n: s.relays_missing }) : t("no_guard_yet");
}

// Nobody is of interest only while something plays.
export function peers(rows, plays) {
  hide($("peers_part"), !plays && !rows.length);
  hide($("intro"), plays);
  if (!rows.length) {
    fill($("peers"), "none", () => [element("tr", {}, element("td", { colspan: "8" }, t("no_peers")))]);
    return;
  }
  fill($("peers"), rows, () => rows.map((p) => element("tr", {},
    element("td", {}, p.address ?? onWay(p, WAYS[wayTo(p)].name)),
    ...[p.rate_down / 1024, p.received / 1024, p.rate_up / 1024, p.sent / 1024].map((n) => element("td", { class: "n" }, number(n))),
    element("td", { class: "n" }, number(p.hops)),
    element("td", { class: "n" }, p.rtt_ms ? `${number(p.rtt_ms)} ms` : "–"),
    element("td", { class: "n" }, p.choked ? t("waits") : p.rank ? number(p.rank) : "–"))));
}

// One row from us to the peer: our hops solid, the other side's dashed, for we
// do not know them; what is direct in the colour of a warning.
export function path(swarm, rows) {
  const row = rows.find((p) => p.swarm === swarm.swarm);
  const narrow = $("path").clientWidth < NARROW;
  fill($("path"), row && [wayTo(row), row.address, row.path, narrow],
    () => (row ? way(row, narrow) : [element("p", { class: "hint" }, t("path_none"))]));
}

// From left to right, or where that is too narrow to be read, downwards.
function way(row, narrow) {
  const to = wayTo(row);
  const stops = [{ name: t("you"), kind: "ours" }];
  row.path.forEach((hop, i) => stops.push({
    name: hop, kind: "ours", note: t(i === 0 ? "guard" : i === row.path.length - 1 ? WAYS[to].last : "relay"),
  }));
  if (to === "hidden" || to === "visitor") stops.push({ name: "• • •", kind: "theirs", note: t("their_hops") });
  if (to === "direct" || to === "exit") stops.push({ name: row.address ?? t("peer"), kind: "bare" });
  else if (to !== "open") stops.push({ name: t(to === "visitor" ? "visitor" : "peer"), kind: "theirs" });
  const why = onWay(row, WAYS[to].why);
  const step = narrow ? 52 : 112;
  const box = narrow ? `0 0 320 ${stops.length * step}` : `0 0 ${stops.length * step} 84`;
  const picture = svg("svg", { viewBox: box, role: "img", class: narrow ? "down" : "", "aria-label": `${stops.map((s) => s.name).join(" → ")}. ${why}` });
  stops.forEach((stop, i) => {
    const at = i * step + step / 2;
    const place = narrow ? { cx: 16, cy: at } : { cx: at, cy: 30 };
    const line = narrow ? { x1: 16, y1: at - step + 16, x2: 16, y2: at - 16 } : { x1: at - step + 16, y1: 30, x2: at - 16, y2: 30 };
    const name = narrow ? { x: 42, y: stop.note ? at - 2 : at + 5 } : { x: at, y: 62 };
    if (i) picture.append(svg("line", { ...line, class: stop.kind }));
    picture.append(svg("circle", { ...place, r: 13, class: stop.kind }), svg("text", name, stop.name),
      svg("text", { x: name.x, y: name.y + 16, class: "small" }, stop.note ?? ""));
  });
  return [picture, element("p", { class: "hint" }, why)];
}

export function pieces(swarm) {
  $("pieces").hidden = swarm.live === true;
  if (swarm.live) {
    write($("pieces_text"), t("pieces_live", { have: octets(swarm.have) }));
    return;
  }
  const part = swarm.length ? Math.floor((swarm.have / swarm.length) * 100) : 0;
  write($("pieces_text"), t("pieces_text", { have: octets(swarm.have), length: octets(swarm.length), part }));
  $("pieces").setAttribute("aria-label", $("pieces_text").textContent);
  draw.pieces($("pieces"), swarm);
}

// What a channel says of its finished broadcasts; whoever says it can say less. Cards are kept:
// a button must not go away under a hand.
export function recordings(swarm, actions) {
  const list = swarm.recordings ?? [];
  const key = JSON.stringify([list, swarm.recordings_ours, document.documentElement.lang]);
  $("recordings_part").hidden = !list.length;
  if ($("recordings").dataset.key === key) return;
  $("recordings").replaceChildren(...list.map((r) => {
    const play = element("button", { type: "button", "aria-label": `${t("play")}: ${r.name}` }, t("play"));
    play.addEventListener("click", () => actions.play(r.uri));
    const line = element("p", { class: "line" }, play);
    if (swarm.recordings_ours) {
      const gone = element("button", { type: "button", class: "gone", "aria-label": `${t("unlist")}: ${r.name}` }, t("unlist"));
      gone.addEventListener("click", () => actions.unlist(r.uri));
      line.append(gone);
    }
    return element("li", {}, element("strong", {}, r.name), element("span", { class: "hint" }, `${day(r.ended)} · ${octets(r.length)}`), line);
  }));
  $("recordings").dataset.key = key; // last: what could not be drawn is tried again
}

// Files that are on their way, or of which something is to be said; those that are shared
// are among the swarms.
export function drops(list, waiting, actions) {
  $("drop").hidden = !list;
  $("drop_none").hidden = Boolean(list);
  const rows = new Map((list ?? []).filter((d) => d.error || !d.uri).map((d) => [d.id, d]));
  for (const d of waiting) rows.set(d.id, d);
  const known = new Map([...$("drops").children].map((e) => [e.dataset.id, e]));
  for (const d of rows.values()) {
    let card = known.get(d.id);
    if (!card) {
      const key = d.shares ? "stop" : "remove";
      const gone = element("button", { type: "button", "aria-label": `${t(key)}: ${d.name}` }, t(key));
      gone.addEventListener("click", () => (d.shares ? actions.end : actions.remove)(d.id));
      card = element("li", { "data-id": d.id }, element("strong"), element("progress", { max: 1, "aria-label": d.name }),
        element("span", { class: "hint" }), element("p", { class: "line" }, gone));
      $("drops").append(card);
    }
    known.delete(d.id);
    write(card.querySelector("strong"), d.name);
    card.querySelector("progress").hidden = Boolean(d.error) || d.at === d.length;
    card.querySelector("progress").value = d.length ? d.at / d.length : 0;
    const text = d.error ?? (d.at < d.length ? t(d.shares ? "share_reading" : "drop_sending", { at: octets(d.at), length: octets(d.length) }) : t("drop_making"));
    write(card.querySelector("span"), text);
  }
  for (const gone of known.values()) gone.remove();
}

export function camera(state, camera) {
  const on = camera.stream !== null;
  const text = on ? t("camera_on", { time: clock((Date.now() - camera.since) / 1000) })
    : state === "none" || !state ? t("camera_none") : state === "records" ? t("camera_busy") : t("camera_ready");
  write($("camera_state"), text);
  $("camera_start").hidden = on;
  $("camera_start").disabled = state !== "waits";
  $("camera_stop").hidden = $("camera").hidden = !on;
}

// Cards are kept and changed in place: a button must not go away under a hand.
// `shares`: what this very page shares, and can end.
export function swarms(list, drops, shares, actions) {
  const known = new Map([...$("swarms").children].map((e) => [e.dataset.swarm, e]));
  $("shared_title").hidden = !list.length;
  for (const swarm of list) {
    const name = swarm.name || swarm.swarm;
    let card = known.get(swarm.swarm);
    if (!card) {
      const button = (key, more) => element("button", { type: "button", "aria-label": `${t(key)}: ${name}`, ...more }, t(key));
      const play = button("play"), copy = button("copy_link");
      const code = button("qr", { "aria-expanded": "false" });
      const gone = button("remove", { class: "gone", hidden: "" });
      const end = button("stop", { class: "end", hidden: "" });
      play.addEventListener("click", () => actions.play(swarm));
      end.addEventListener("click", () => actions.end(end.dataset.id));
      code.addEventListener("click", () => actions.code(swarm.uri, code));
      copy.addEventListener("click", () => actions.copy(swarm.uri));
      gone.addEventListener("click", () => actions.remove(gone.dataset.id));
      card = element("li", { "data-swarm": swarm.swarm }, element("strong"), element("span", { class: "hint" }),
        element("p", { class: "line" }, play, copy, code, gone, end));
      $("swarms").append(card);
    }
    known.delete(swarm.swarm);
    const drop = drops.find((d) => d.uri === swarm.uri);
    card.querySelector(".gone").hidden = !drop;
    card.querySelector(".gone").dataset.id = drop?.id ?? "";
    const mine = shares.find((s) => s.uri === swarm.uri);
    card.querySelector(".end").hidden = !mine;
    card.querySelector(".end").dataset.id = mine?.id ?? "";
    write(card.querySelector("strong"), name);
    const values = {
      have: octets(swarm.have), length: octets(swarm.length), n: swarm.peers,
      down: octets(swarm.rate_down), up: octets(swarm.rate_up),
    };
    const kind = swarm.live ? "swarm_live" : swarm.direct ? "swarm_direct"
      : swarm.open && swarm.sharing ? "swarm_open" : swarm.sharing ? "swarm_sharing" : "swarm_fetching";
    const text = (swarm.live && swarm.direct ? `${t("badge_direct")} · ` : "") + t(kind, values);
    write(card.querySelector("span"), text);
  }
  for (const gone of known.values()) gone.remove();
}

export function network(state, history) {
  for (const id of ["down", "up", "carried", "datagrams"]) {
    const say = id === "datagrams" ? (n) => `${number(n)}/s` : (n) => `${octets(n)}/s`;
    const now = history[id].at(-1) ?? 0;
    draw.chart($(id), history[id], say);
    $(id).setAttribute("aria-label", `${t(`${id}_chart`)}: ${say(now)}`);
  }
  const s = state.status;
  const sockets = Object.values(s.sockets);
  const rows = [["relays_known", s.relays_known], ["guards_up", s.guards], ["circuits", s.circuits],
    ["dht_nodes", s.dht_good], ["links", s.links], ["carried", s.hops_carried], ["cells", s.cells_relayed],
    ["lost_here", sockets.reduce((sum, one) => sum + one.dropped_in + one.dropped_out, 0)], ["refused", s.dropped],
    ["stands", s.own && t(`class_${s.own.stands}`)], ["tokens", s.own?.tokens]];
  fill($("numbers"), rows, () => rows.filter(([, value]) => value !== undefined).map(([key, value]) =>
    element("div", {}, element("dt", {}, t(key)), element("dd", {}, typeof value === "number" ? number(value) : value))));
  fill($("first_hops"), s.first_hops, () => s.first_hops.map((hop) =>
    element("li", {}, `${hop.relay} · ${hop.address} · ${t(hop.up ? "up" : "down")}`)));
  write($("ledger"), t("ledger_text", {
    given: octets(s.ledger.given), taken: octets(s.ledger.taken), pending: octets(s.ledger.pending),
  }));
}

// Why something changed: every row has its cause.
export function ledger({ rows, relays }) {
  $("agreed_part").hidden = !relays.length;
  $("why_part").hidden = !rows.length;
  $("agreed").replaceChildren(...relays.map((r) => element("tr", {}, element("td", {}, r.relay.slice(0, SHORT)),
    element("td", { class: "n" }, octets(r.given)), element("td", { class: "n" }, octets(r.taken)))));
  const level = (row, value) => (["class", "own"].includes(row.about) ? t(`class_${value}`) : value);
  const of = (row) => (row.about === "own" ? [] : [row.relay ? row.relay.slice(0, SHORT) : t("account", { n: row.account })]);
  $("why").replaceChildren(...rows.map((r) => element("tr", {}, element("td", {}, r.day || "–"),
    element("td", {}, [t(`about_${r.about}`), ...of(r)].join(" · ")),
    element("td", {}, `${level(r, r.was)} → ${level(r, r.became)}`), element("td", { class: "cause" }, t(`because_${r.cause}`)),
    element("td", { class: "n" }, octets(r.given)), element("td", { class: "n" }, octets(r.taken)))));
}
