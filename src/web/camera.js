// This browser's camera, for the command that makes a broadcast of it: recordings in
// numbered pieces. A piece that got lost is sent again; when too much waits, or the node
// misses some, another recording begins: that is a gap, and viewers go on behind it.

import { endCamera, putCamera, randomId } from "./api.js";

const SLICE = 250; // ms of a recording that become a piece
const PIECE = 48 * 1024; // octets: a request is 64 KiB at most
const WAITING_MAX = 8 << 20;
const AGAIN = 500;
const TYPES = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Camera {
  // onChange(): it began or ended; onTrouble(key, values): what is to be said.
  constructor(view, onChange, onTrouble) {
    this.view = view;
    this.onChange = onChange;
    this.onTrouble = onTrouble;
    this.stream = null;
    this.recording = null;
    this.since = 0;
    this.gaps = 0;
  }

  async start() {
    const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    const media = navigator.mediaDevices;
    try {
      this.stream = await media.getUserMedia({ video, audio: true })
        .catch((error) => (error.name === "NotFoundError" ? media.getUserMedia({ video }) : Promise.reject(error)));
    } catch (error) {
      this.onTrouble("camera_refused", { why: error.message });
      return;
    }
    this.view.srcObject = this.stream;
    this.view.play().catch(() => {});
    this.since = Date.now();
    for (const track of this.stream.getTracks()) track.addEventListener("ended", () => this.stop());
    this.record();
    this.onChange();
  }

  record() {
    const type = TYPES.find((t) => MediaRecorder.isTypeSupported(t));
    const recorder = new MediaRecorder(this.stream, { mimeType: type, videoBitsPerSecond: 2_500_000 });
    const recording = { session: randomId(), number: 0, waiting: [], octets: 0, recorder };
    this.recording = recording;
    recorder.addEventListener("dataavailable", ({ data }) => {
      for (let at = 0; at < data.size; at += PIECE) recording.waiting.push(data.slice(at, at + PIECE));
      recording.octets += data.size;
    });
    recorder.start(SLICE);
    this.send(recording);
  }

  // Until another recording takes its place.
  async send(recording) {
    while (this.recording === recording) {
      const piece = recording.waiting[0];
      if (!piece) {
        await pause(SLICE / 5);
        continue;
      }
      const status = await putCamera(recording.session, recording.number, piece).catch(() => 0);
      if (status === 200) {
        recording.waiting.shift();
        recording.octets -= piece.size;
        recording.number++;
      } else if (this.recording !== recording) {
        break;
      } else if (status === 409 || recording.octets > WAITING_MAX) {
        await this.again(recording);
      } else {
        this.onTrouble(status === 503 ? "camera_none" : "node_away");
        await pause(AGAIN);
      }
    }
  }

  async again(recording) {
    recording.recorder.stop();
    await pause(AGAIN);
    if (this.recording !== recording) return;
    this.gaps++;
    this.onTrouble("camera_again");
    this.record();
  }

  stop() {
    const recording = this.recording;
    this.recording = null;
    if (recording?.recorder.state === "recording") recording.recorder.stop();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.view.srcObject = null;
    if (recording) endCamera(recording.session).catch(() => {});
    this.onChange();
  }
}
