// The page: one state from the node, shown in four views.

import { Away, code, ledger, listen, randomId, removeDrop, takeFragment, takeToken, task } from "./api.js";
import { Camera } from "./camera.js";
import * as draw from "./draw.js";
import { Drops } from "./drop.js";
import { Player } from "./player.js";
import { LANGUAGES, preferredLanguage, setLanguage, t } from "./text.js";
import * as views from "./views.js";

const $ = (id) => document.getElementById(id);
const VIEWS = ["watch", "share", "network", "settings"];
const SECONDS_SHOWN = 120;
const LEDGER_AGAIN = 30_000;
const TOLD = 5000;
const CELL = 1232; // octets
const ALONE = { nobody: "nobody_shares", no_exit: "no_exit" }; // events: why there are no peers

const app = {
  state: null,
  lost: null, // why nothing comes; what is shown is old then
  history: { down: [], up: [], carried: [], datagrams: [] }, // a second each
  before: null, // counters a second ago, and when
  ledgerAt: 0, // when it was last asked for
  playing: null, // {swarm or null until it is known, controller}
  leaving: null, // a swarm that is being closed, as we said stop
  wish: null, // a link to be played as soon as there is a state
  shares: [], // what the form of this page shares: {id, name, at, length, uri when it can be found, controller}
  told: 0, // the timer of what is told
  passing: true, // the trouble that is shown goes when the next state comes, or stays for the reader
};

// Kept in this browser; may be forbidden there, and then is forgotten.
function remember(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch {
    return null;
  }
  return null;
}

function say(text, trouble = false, passing = false) {
  if (trouble) app.passing = passing || !text;
  if (trouble && $("trouble").textContent === text) return;
  $(trouble ? "trouble" : "live").textContent = text;
  if (trouble) $("trouble").hidden = !text;
}

// What was asked for is done: for some seconds also seen by those who look.
function tell(text) {
  say(text);
  $("live").className = "told";
  clearTimeout(app.told);
  app.told = setTimeout(() => ($("live").className = "unseen"), TOLD);
}

function wrong(error) {
  say(error instanceof Away ? t("node_away_now") : String(error.message), true);
}

// What is being done before there is anything to see; "": nothing.
function doing(text) {
  $("doing").hidden = !text;
  $("doing_text").textContent = text;
}

// ---- what is shown

function view() {
  const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "watch";
  for (const v of VIEWS) {
    $(v).hidden = v !== name;
    const link = document.querySelector(`nav a[href="#${v}"]`);
    if (v === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  show();
}

function show() {
  const state = app.state;
  if (!state || document.hidden) return; // nobody looks
  if (app.lost) showLost();
  else views.badge(state);
  const swarm = state.swarms.find((s) => s.swarm === app.playing?.swarm);
  if (swarm && !$("watch").hidden) {
    app.player.update(swarm);
    views.path(swarm, state.peers);
    views.pieces(swarm);
    views.recordings(swarm, { play: watchLink, unlist });
  }
  if (!$("watch").hidden) views.peers(state.peers, app.playing !== null);
  if (!$("share").hidden) showShared(state);
  if (!$("network").hidden) {
    views.network(state, app.history);
    showLedger();
  }
}

function showShared(state) {
  views.drops(state.drops, [...app.drops.waiting, ...app.shares.filter((s) => !s.uri)], { remove, end });
  views.swarms(state.swarms, state.drops ?? [], app.shares, { play: watchSwarm, copy, code: showCode, remove, end });
  views.camera(state.status.camera, app.camera);
}

function showLost() {
  $("obstacle").hidden = true; // it was true of a node that answered
  $("badge").dataset.state = "lost";
  $("badge").textContent = t("badge_lost");
}

function onState(state) {
  app.state = state;
  if (!state.swarms.some((s) => s.swarm === app.leaving)) app.leaving = null;
  app.lost = null;
  if (app.passing) say("", true);
  rememberRates(state);
  show();
  if (app.wish) {
    const uri = app.wish;
    app.wish = null;
    watchLink(uri);
  }
}

// Counters become rates by what they were before.
function rememberRates(state) {
  const now = { at: performance.now(), cells: state.status.cells_relayed,
    datagrams: Object.values(state.status.sockets).reduce((sum, s) => sum + s.datagrams_in + s.datagrams_out, 0) };
  const seconds = app.before ? Math.max(1, (now.at - app.before.at) / 1000) : 1;
  const rate = (key) => (app.before ? Math.max(0, now[key] - app.before[key]) / seconds : 0);
  const sum = (key) => state.swarms.reduce((all, s) => all + s[key], 0);
  const values = { down: sum("rate_down"), up: sum("rate_up"), carried: rate("cells") * CELL, datagrams: rate("datagrams") };
  for (const [key, value] of Object.entries(values)) {
    app.history[key].push(value);
    app.history[key].splice(0, app.history[key].length - SECONDS_SHOWN);
  }
  app.before = now;
}

// Asked for while it is looked at: it changes by the hour.
async function showLedger() {
  if (performance.now() < app.ledgerAt) return;
  app.ledgerAt = performance.now() + LEDGER_AGAIN;
  try {
    views.ledger(await ledger());
  } catch (error) {
    wrong(error);
  }
}

function onLost(reason) {
  app.lost = reason;
  showLost();
  if (reason === "away" && $("trouble").textContent === t("node_away_now")) return; // that says more
  say(t({ token: "no_token", many: "too_many_pages" }[reason] ?? "node_away"), true, true);
}

// ---- what can be done

const FOLDER = /[&?]f=1(&|$)/;
const PLAYABLE = /\.(mp4|m4v|mov|webm|mkv|ogv|m4a|mp3|ogg|flac|wav)$/i;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(t("copied"));
  } catch {
    window.prompt(t("copy_link"), text); // old browsers, and those who forbid it
  }
}

// Below its button, until that is pressed again.
async function showCode(uri, button) {
  const shown = button.parentElement.nextElementSibling;
  button.setAttribute("aria-expanded", String(!shown));
  if (shown) {
    shown.remove();
    return;
  }
  try {
    button.parentElement.after(draw.code(await code(uri), t("qr")));
  } catch (error) {
    button.setAttribute("aria-expanded", "false");
    wrong(error);
  }
}

function stop() {
  app.player.close(); // first, or the node may cut off what the player still reads
  if (app.playing?.controller) {
    app.playing.controller.abort();
    app.leaving = app.playing.swarm; // the node closes it; the state still has it for a moment
  }
  app.playing = null;
  $("stage").hidden = true;
  doing("");
}

// Asked for by the reader, who has seen by now what was wrong before.
function stopWatching() {
  say("", true);
  stop();
  show();
}

// A swarm's link is on this gateway whatever name it has in the address bar.
function ours(link) {
  const url = new URL(link);
  return url.pathname + url.search;
}

// A folder's link is a playlist of its files; those that the browser plays are offered.
async function watchFolder(link) {
  const lines = (await (await fetch(link)).text()).split("\n");
  const select = $("files");
  select.replaceChildren();
  for (let i = 0; i + 1 < lines.length; i++) {
    const name = /^#EXTINF:-1,(.*)$/.exec(lines[i])?.[1];
    if (name !== undefined && PLAYABLE.test(name)) select.append(new Option(name, ours(lines[i + 1])));
  }
  $("files_row").hidden = !select.length;
  if (select.length) app.player.open(select.value, true);
  else say(t("cannot_play"), true);
}

function watchSwarm(swarm, controller = null) {
  if (app.playing?.controller !== controller) stop();
  say("", true);
  doing("");
  const folder = FOLDER.test(swarm.uri ?? "");
  $("files_row").hidden = true;
  app.playing = { swarm: swarm.swarm, controller };
  $("now").textContent = swarm.name || swarm.swarm;
  $("extern").href = ours(swarm.link);
  $("stage").hidden = false;
  location.hash = "#watch";
  if (swarm.live) app.player.openLive(ours(swarm.link), swarm.hls && ours(swarm.hls), $("live_player").value === "parts");
  else if (folder) watchFolder(ours(swarm.link)).catch(wrong);
  else app.player.open(ours(swarm.link));
  show();
}

// What names the swarm in a link: two links of one film may say different contacts.
const swarmOf = (uri) => /[?&]x=([a-z2-7]+)/.exec(uri ?? "")?.[1];

async function watchLink(uri) {
  say("", true);
  stop();
  const name = swarmOf(uri);
  const open = app.state?.swarms.find((s) => name && swarmOf(s.uri) === name && s.swarm !== app.leaving);
  if (open) {
    watchSwarm(open);
    return;
  }
  const controller = new AbortController();
  app.playing = { swarm: null, controller };
  doing(t("opening"));
  try {
    const status = await task({ verb: "play", argument: uri }, (event) => {
      if (event.event === "error") say(event.text, true);
      else if (event.say) say(event.say);
      if (event.say && event.event !== "error" && app.playing?.controller === controller && !app.playing.swarm) doing(event.say);
      if (ALONE[event.event] && app.playing?.controller === controller) app.player.noPeers(ALONE[event.event]);
      if (event.event === "link") openLink(event.url, controller);
    }, controller);
    if (status === null) say(t("too_many_tasks"), true);
    if (status !== 0 && app.playing?.controller === controller) stop();
  } catch (error) {
    if (error.name === "AbortError") return;
    wrong(error);
    if (app.playing?.controller === controller) stop();
  }
}

// The node has said the link; its swarm comes with the next state.
async function openLink(url, controller) {
  while (app.playing?.controller === controller && !app.playing.swarm) {
    const swarm = app.state?.swarms.find((s) => s.link === url);
    if (swarm?.length || swarm?.live) {
      watchSwarm(swarm, controller);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

// Shown among what is on its way until others can find it, and can be stopped all the time.
async function share(path) {
  if (!path.startsWith("/")) { // the page is in no folder
    say(t("whole_path"), true);
    return;
  }
  const mine = { id: randomId(), name: path, at: 0, length: 0, shares: true, controller: new AbortController() };
  app.shares.push(mine);
  say("", true);
  show();
  try {
    const status = await task({ verb: "share", argument: path }, (event) => {
      if (event.event === "error") say(event.text, true);
      else if (event.event === "hashing") Object.assign(mine, { at: event.done, length: event.length });
      else if (event.say) say(event.say);
      if (event.event === "shared") mine.uri = event.uri;
      show();
    }, mine.controller);
    if (status === null) say(t("too_many_tasks"), true);
  } catch (error) {
    if (error.name !== "AbortError") wrong(error);
  } finally {
    app.shares = app.shares.filter((s) => s !== mine);
    show();
  }
}

function end(id) {
  app.shares.find((s) => s.id === id)?.controller.abort();
}

// Out of the list that our channel's link leads to.
async function unlist(uri) {
  say("", true);
  try {
    const status = await task({ verb: "rm", argument: uri, options: { recording: "yes" } }, (event) => {
      if (event.event === "error") say(event.text, true);
      else if (event.say) tell(event.say);
    }, new AbortController());
    if (status === null) say(t("too_many_tasks"), true);
  } catch (error) {
    wrong(error);
  }
}

async function remove(id) {
  app.drops.cancel(id);
  try {
    await removeDrop(id);
  } catch (error) {
    wrong(error);
  }
  show();
}

// Files are taken wherever on the page they are let go.
function takeFiles() {
  const files = (event) => event.dataTransfer?.types.includes("Files") && app.state?.drops;
  document.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    if ($("share").hidden) location.hash = "#share";
    $("drop").dataset.over = "yes";
  });
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => delete $("drop").dataset.over);
  document.addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    app.drops.add(event.dataTransfer.files);
  });
  $("choose").addEventListener("click", () => $("chosen").click());
  $("chosen").addEventListener("change", () => {
    app.drops.add($("chosen").files);
    $("chosen").value = "";
  });
}

// A link that another page opened here only fills the field in: what is fetched is the
// reader's choice. One that brought the right came from the reader's own command.
function takeLink(uri, ours) {
  if (!uri) return;
  $("link").value = uri;
  location.hash = "#watch";
  view();
  if (ours && app.state) watchLink(uri);
  else if (ours) app.wish = uri;
  else $("link").focus();
}

// A link that is opened in a tab where the page is already.
async function onHash() {
  const given = takeFragment();
  if (!given.t && !given.k && !given.watch) {
    view();
    return;
  }
  takeLink(given.watch, await takeToken(given));
}

function becomeHandler() {
  try {
    navigator.registerProtocolHandler("web+culvert", `${location.origin}/#watch=%s`);
    tell(t("handler_asked"));
  } catch (error) {
    wrong(error);
  }
}

// ---- beginning

function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  show();
}

async function begin() {
  const given = takeFragment();
  const ours = await takeToken(given);
  const language = remember("language") ?? preferredLanguage();
  for (const [code, name] of Object.entries(LANGUAGES)) $("language").append(new Option(name, code, false, code === language));
  await setLanguage(language);
  $("theme").value = remember("theme") ?? "system";
  theme($("theme").value);
  app.player = new Player(say);
  app.drops = new Drops(show, (text) => say(text, true));
  app.camera = new Camera($("camera"), show, (key, values) => say(t(key, values), key !== "camera_again", key !== "camera_refused"));
  takeFiles();
  $("camera_start").addEventListener("click", () => app.camera.start());
  $("camera_stop").addEventListener("click", () => app.camera.stop());
  $("live_player").value = remember("live_player") ?? "stream";
  $("live_player").addEventListener("change", () => remember("live_player", $("live_player").value));
  $("handler").addEventListener("click", becomeHandler);
  $("badge").textContent = t("badge_waiting");
  $("theme").addEventListener("change", () => {
    remember("theme", $("theme").value);
    theme($("theme").value);
  });
  $("language").addEventListener("change", async () => {
    remember("language", $("language").value);
    await setLanguage($("language").value);
    $("swarms").replaceChildren();
    $("drops").replaceChildren();
    app.ledgerAt = 0;
    if (!app.state) $("badge").textContent = t(app.lost ? "badge_lost" : "badge_waiting");
    show();
  });
  $("open").addEventListener("submit", (event) => {
    event.preventDefault();
    watchLink($("link").value.trim());
  });
  $("offer").addEventListener("submit", (event) => {
    event.preventDefault();
    share($("file").value.trim());
  });
  $("files").addEventListener("change", () => app.player.open($("files").value, true));
  for (const id of ["stop", "stop_opening"]) $(id).addEventListener("click", stopWatching);
  $("copy").addEventListener("click", () => {
    const swarm = app.state?.swarms.find((s) => s.swarm === app.playing?.swarm);
    if (swarm) copy(swarm.uri);
  });
  window.addEventListener("hashchange", onHash);
  document.addEventListener("visibilitychange", show);
  view();
  takeLink(given.watch, ours);
  listen(onState, onLost);
}

begin().catch((error) => say(String(error.message), true));
