// The video and its controls. The browser asks the gateway for ranges; a range
// that is not there yet makes it wait, and we say for what.

import { clock, t } from "./text.js";
import * as draw from "./draw.js";

const $ = (id) => document.getElementById(id);
const SEEK_STEPS = 1000;

// On first use; null when the build had no such package.
async function load(name, src) {
  if (window[name]) return window[name];
  const script = document.createElement("script");
  script.src = src;
  const loaded = await new Promise((resolve) => {
    script.onload = () => resolve(true);
    script.onerror = () => resolve(false);
    document.head.append(script);
  });
  return loaded ? window[name] : null;
}

export class Player {
  constructor(say) {
    this.video = $("video");
    this.live = null; // what feeds the video a broadcast,
    this.newest = false; // and keeps it at the newest end
    this.turn = 0; // of opening: a player that arrives late is not wanted any more
    this.say = say;
    this.swarm = null;
    this.alone = null; // why there are no peers: "nobody_shares" or "no_exit"
    const v = this.video;
    for (const name of ["timeupdate", "durationchange", "progress", "play", "pause", "volumechange", "seeked"])
      v.addEventListener(name, () => this.show());
    v.addEventListener("waiting", () => this.stall(true));
    for (const name of ["playing", "canplay", "seeked", "emptied"]) v.addEventListener(name, () => this.stall(false));
    v.addEventListener("error", () => v.getAttribute("src") && !this.live && this.say(t("cannot_play"), true));
    v.addEventListener("click", () => this.toggle());
    $("toggle").addEventListener("click", () => this.toggle());
    $("mute").addEventListener("click", () => (v.muted = !v.muted));
    $("volume").addEventListener("input", () => (v.volume = $("volume").value / 100));
    $("full").addEventListener("click", () => this.fullScreen());
    $("seek").addEventListener("input", () => {
      const { start, end } = this.span();
      if (end > start) v.currentTime = start + ($("seek").value / SEEK_STEPS) * (end - start);
    });
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.show()).observe($("bar"));
  }

  // In a folder, subtitles may stand beside the video: FILE.srt, which the gateway makes
  // FILE.vtt of, or that.
  async captions(link) {
    const beside = link.replace(/\.[^./?]*(\?|$)/, ".vtt$1");
    const there = await fetch(beside, { method: "HEAD" });
    if (!there.ok || this.video.getAttribute("src") !== link) return;
    const track = document.createElement("track");
    Object.assign(track, { kind: "subtitles", label: t("subtitles"), src: beside, default: true });
    this.video.append(track);
  }

  open(link, folder = false) {
    this.close();
    this.video.src = link;
    if (folder) this.captions(link).catch(() => {});
    this.video.play().catch(() => {}); // a browser may want a click first
    this.show();
  }

  // A broadcast is an endless MPEG-TS stream, which browsers cannot read by
  // themselves: as it comes, or in parts of segments, a second or two later, through
  // which one can go back. `rewind` chooses; what the build has not is not chosen.
  async openLive(link, hls, rewind) {
    this.close();
    const turn = ++this.turn;
    const mpegts = rewind ? null : await load("mpegts", "/packages/mpegts.js/mpegts.js");
    const Hls = mpegts || !hls ? null : await load("Hls", "/packages/hls.js/hls.light.min.js");
    if (turn !== this.turn) return;
    if (mpegts) this.openStream(mpegts, link);
    else if (Hls?.isSupported()) this.openParts(Hls, hls);
    else if (hls && this.video.canPlayType("application/vnd.apple.mpegurl")) this.open(hls);
    else this.say(t("no_live_player"), true);
  }

  // Who is thrown out for an error of the player's own comes back by itself.
  openParts(Hls, hls) {
    const live = new Hls({ lowLatencyMode: true, enableWorker: false, maxLiveSyncPlaybackRate: 1.1, backBufferLength: 60 });
    live.on(Hls.Events.ERROR, (_, { fatal, type }) => {
      if (!fatal) return;
      if (type === Hls.ErrorTypes.NETWORK_ERROR) live.startLoad();
      else if (type === Hls.ErrorTypes.MEDIA_ERROR) live.recoverMediaError();
      else this.say(t("cannot_play"), true);
    });
    this.live = live;
    live.loadSource(new URL(hls, location).href);
    live.attachMedia(this.video);
    this.video.play().catch(() => {});
    this.show();
  }

  // Near its newest end: who falls behind jumps, and so nobody can go back. What cannot be
  // read is unloaded: mpegts.js drops its reader then, and throws every 600 ms as it looks
  // for it. After an error of the network what was fetched is still shown.
  openStream(mpegts, link) {
    this.live = mpegts.createPlayer(
      { type: "mpegts", isLive: true, url: new URL(link, location).href },
      { enableStashBuffer: false, liveSync: true, liveBufferLatencyChasing: true,
        liveBufferLatencyMaxLatency: 2.5, liveBufferLatencyMinRemain: 0.8, autoCleanupSourceBuffer: true });
    this.newest = true;
    const live = this.live;
    live.on(mpegts.Events.ERROR, (type) => {
      this.say(t("cannot_play"), true);
      if (type === mpegts.ErrorTypes.MEDIA_ERROR) live.unload();
    });
    this.live.attachMediaElement(this.video);
    this.live.load();
    this.video.play().catch(() => {});
    this.show();
  }

  close() {
    this.live?.destroy();
    this.live = null;
    this.newest = false;
    this.turn++;
    this.video.removeAttribute("src");
    this.video.replaceChildren();
    this.video.load();
    this.swarm = this.alone = null;
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else $("screen").requestFullscreen();
  }

  stall(on) {
    $("stall").hidden = !on;
    this.sayWhy();
  }

  // The node has looked for peers, in vain so far.
  noPeers(why) {
    this.alone = this.swarm?.live && why === "nobody_shares" ? "live_silent" : why;
    this.sayWhy();
  }

  // What a picture that stands still waits for.
  sayWhy() {
    const swarm = this.swarm;
    const peers = swarm?.peers ?? 0;
    const text = this.isOver() ? t("live_over") : peers ? t("fetching", { n: peers }) : t(this.alone ?? "looking");
    if ($("stall").hidden || $("stall").textContent === text) return;
    $("stall").textContent = text;
    this.say(text);
  }

  // A broadcast has a length when it has ended.
  isOver() {
    return Boolean(this.swarm?.live && this.swarm.length);
  }

  key(event) {
    const inField = event.target.closest("input:not([type=range]), select, textarea");
    if (inField || event.ctrlKey || event.altKey || event.metaKey || $("stage").hidden || $("watch").hidden) return;
    const v = this.video;
    const onButton = event.target.closest("button, a, input");
    const { start, end } = this.span();
    const jump = (seconds) => !$("seek").disabled && (v.currentTime = Math.min(end, Math.max(start, v.currentTime + seconds)));
    const keys = {
      k: () => this.toggle(), m: () => (v.muted = !v.muted), f: () => this.fullScreen(),
      j: () => jump(-10), l: () => jump(10),
      ...(onButton ? {} : { " ": () => this.toggle(), ArrowLeft: () => jump(-5), ArrowRight: () => jump(5) }),
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  }

  // What one can go to: all of a film, of a broadcast what is there still.
  span() {
    const { duration, seekable } = this.video;
    if (!this.live) return { start: 0, end: Number.isFinite(duration) ? duration : 0, live: false };
    if (!seekable.length) return { start: 0, end: 0, live: true };
    return { start: seekable.start(0), end: seekable.end(seekable.length - 1), live: true };
  }

  // The newest state of the swarm that is played.
  update(swarm) {
    this.swarm = swarm;
    if (swarm.peers) this.alone = null;
    else if (swarm.live) this.alone ??= "live_silent";
    this.sayWhy();
    this.show();
  }

  show() {
    const v = this.video;
    $("toggle").setAttribute("aria-label", v.paused ? t("play") : t("pause"));
    $("toggle").dataset.on = String(!v.paused); // "Pause, pressed" would say the opposite
    $("mute").setAttribute("aria-label", t("mute"));
    $("mute").setAttribute("aria-pressed", String(v.muted));
    if (document.activeElement !== $("volume")) $("volume").value = v.volume * 100;
    const { start, end, live } = this.span();
    const text = live ? (end - v.currentTime < 1 && this.isOver() ? t("live_over") : end - v.currentTime < 1 ? t("live_now") : `−${clock(end - v.currentTime)}`)
      : `${clock(v.currentTime)} / ${clock(v.duration)}`;
    if ($("clock").textContent !== text) $("clock").textContent = text;
    $("seek").disabled = this.newest;
    $("seek").value = end > start ? ((v.currentTime - start) / (end - start)) * SEEK_STEPS : 0;
    $("seek").setAttribute("aria-valuetext", text);
    draw.bar($("bar"), this.swarm, v);
  }
}
