// The video and its controls. The browser asks the gateway for ranges; a range
// that is not there yet makes it wait, and we say for what.

import { clock, t } from "./text.js";
import * as draw from "./draw.js";

const $ = (id) => document.getElementById(id);
const SEEK_STEPS = 1000;

// On first use; null when the build had no such package.
async function loadMpegts() {
  if (window.mpegts) return window.mpegts;
  const script = document.createElement("script");
  script.src = "/packages/mpegts.js/mpegts.js";
  const loaded = await new Promise((resolve) => {
    script.onload = () => resolve(true);
    script.onerror = () => resolve(false);
    document.head.append(script);
  });
  return loaded ? window.mpegts : null;
}

export class Player {
  constructor(say) {
    this.video = $("video");
    this.live = null; // what feeds the video a broadcast
    this.say = say;
    this.swarm = null;
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
      if (Number.isFinite(v.duration)) v.currentTime = ($("seek").value / SEEK_STEPS) * v.duration;
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
  // themselves. Near its newest end: who falls behind jumps.
  async openLive(link, hls) {
    this.close();
    const mpegts = await loadMpegts();
    if (!mpegts) {
      // Some browsers read playlists of segments by themselves, some seconds behind.
      if (hls && this.video.canPlayType("application/vnd.apple.mpegurl")) this.open(hls);
      else this.say(t("no_live_player"), true);
      return;
    }
    this.live = mpegts.createPlayer(
      { type: "mpegts", isLive: true, url: new URL(link, location).href },
      { enableStashBuffer: false, liveSync: true, autoCleanupSourceBuffer: true });
    this.live.on(mpegts.Events.ERROR, () => this.say(t("cannot_play"), true));
    this.live.attachMediaElement(this.video);
    this.live.load();
    this.video.play().catch(() => {});
    this.show();
  }

  close() {
    this.live?.destroy();
    this.live = null;
    this.video.removeAttribute("src");
    this.video.replaceChildren();
    this.video.load();
    this.swarm = null;
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
    if (!on) return;
    const peers = this.swarm?.peers ?? 0;
    $("stall").textContent = peers ? t("fetching", { n: peers }) : t("looking");
    this.say($("stall").textContent);
  }

  key(event) {
    const inField = event.target.closest("input:not([type=range]), select, textarea");
    if (inField || event.ctrlKey || event.altKey || event.metaKey || $("stage").hidden || $("watch").hidden) return;
    const v = this.video;
    const onButton = event.target.closest("button, a, input");
    const jump = (seconds) => (v.currentTime = Math.min(v.duration || 0, Math.max(0, v.currentTime + seconds)));
    const keys = {
      k: () => this.toggle(), m: () => (v.muted = !v.muted), f: () => this.fullScreen(),
      j: () => jump(-10), l: () => jump(10),
      ...(onButton ? {} : { " ": () => this.toggle(), ArrowLeft: () => jump(-5), ArrowRight: () => jump(5) }),
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  }

  // The newest state of the swarm that is played.
  update(swarm) {
    this.swarm = swarm;
    this.show();
  }

  show() {
    const v = this.video;
    $("toggle").setAttribute("aria-label", v.paused ? t("play") : t("pause"));
    $("toggle").setAttribute("aria-pressed", String(!v.paused));
    $("mute").setAttribute("aria-label", t("mute"));
    $("mute").setAttribute("aria-pressed", String(v.muted));
    if (document.activeElement !== $("volume")) $("volume").value = v.volume * 100;
    const text = `${clock(v.currentTime)} / ${clock(v.duration)}`;
    if ($("clock").textContent !== text) $("clock").textContent = text;
    $("seek").value = Number.isFinite(v.duration) && v.duration ? (v.currentTime / v.duration) * SEEK_STEPS : 0;
    $("seek").setAttribute("aria-valuetext", text);
    draw.bar($("bar"), this.swarm, v);
  }
}
