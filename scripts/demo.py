#!/usr/bin/env python3
"""The main job of culvert, with the real programs as separate processes.

A DHT bootstrap node, six relays, a hidden seeder and two viewers, each with its
own identity, state folder, loopback address and one DHT contact. The film is
played by ffmpeg through the viewer's link, with one seek into a part that is
not there yet; then the seeder is stopped and a second viewer gets the film from
the first alone. Every claim that is printed is checked; the exit status is not
zero when one did not hold.
"""
import argparse
import hashlib
import http.client
import http.server
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

RELAYS = 6
SECONDS = 180  # until something counts as never happening, on the slowest machine
NETWORK = "culvert-demo"
UNREAD = 0.05  # of a film may be of no use to a player: indexes, subtitles, padding
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Failed(Exception):
    """A claim that did not hold; the text is for the person who ran the demo."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Ending:
    """Ctrl-C, which counts once, and not in the midst of a start: nobody would stop what was begun."""

    def __init__(self):
        self.starting = self.asked = False

    def __call__(self, *_):
        if not self.asked:
            self.asked = True
            if not self.starting:
                raise KeyboardInterrupt

    def __enter__(self):
        self.starting = True

    def __exit__(self, *_):
        self.starting = False
        if self.asked:
            raise KeyboardInterrupt


class Process:
    """A program whose standard output is one JSON object a line."""

    def __init__(self, name, command, log):
        self.name = name
        self.started = time.monotonic()
        self.log = open(log, "wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log,
                                        start_new_session=True)
        self.events = []
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            event["at"] = time.monotonic() - self.started
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()
        with self.changed:
            self.events.append({"event": "ended", "at": time.monotonic() - self.started})
            self.changed.notify_all()

    def wait_for(self, name, seconds=SECONDS):
        """The first event of that name."""
        limit = time.monotonic() + seconds
        with self.changed:
            while True:
                for event in self.events:
                    if event.get("event") == name:
                        return event
                    if event.get("event") == "ended":
                        raise Failed(f"{self.name} ended early; see {self.log.name}")
                left = limit - time.monotonic()
                if left <= 0:
                    raise Failed(f"{self.name}: no '{name}' within {seconds} s; "
                                 f"see {self.log.name}")
                self.changed.wait(left)

    def last(self, name):
        with self.changed:
            found = [e for e in self.events if e.get("event") == name]
        return found[-1] if found else None

    def ask_to_end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def stop(self):
        if self.process.poll() is None:
            self.ask_to_end()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Recorder(http.server.ThreadingHTTPServer):
    """Stands between the player and the link and keeps what the player's
    connections received, each octet at its place in the file."""
    daemon_threads = True

    def __init__(self, link, path):
        super().__init__(("127.0.0.1", 0), RecorderHandler)
        self.link = urllib.parse.urlsplit(link)
        self.file = open(path, "w+b")
        self.lock = threading.Lock()
        self.ranges = []  # of (first, last + 1)
        self.requests = []  # first octet of each range asked for
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}{self.link.path}"

    def keep(self, offset, data):
        with self.lock:
            self.file.seek(offset)
            self.file.write(data)
            if self.ranges and self.ranges[-1][1] == offset:
                self.ranges[-1] = (self.ranges[-1][0], offset + len(data))
            else:
                self.ranges.append((offset, offset + len(data)))

    def handle_error(self, request, client_address):
        pass  # players hang up when they have enough

    def gaps(self, size):
        """(first, last) of what was not received yet."""
        gaps, end = [], 0
        for first, last in sorted(self.ranges) + [(size, size)]:
            if first > end:
                gaps.append((end, first - 1))
            end = max(end, last)
        return gaps

    def sha256(self):
        with self.lock:
            self.file.flush()
            return sha256_file(self.file.name)


class RecorderHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        link = self.server.link
        upstream = http.client.HTTPConnection(link.hostname, link.port, timeout=120)
        headers = {k: v for k, v in self.headers.items()
                   if k.lower() in ("range", "if-range", "user-agent")}
        try:
            upstream.request("GET", f"{link.path}?{link.query}", headers=headers)
            answer = upstream.getresponse()
        except (OSError, http.client.HTTPException) as error:
            upstream.close()
            self.send_error(502, f"the link does not answer: {type(error).__name__}")
            return
        self.send_response(answer.status)
        for key in ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag"):
            if answer.getheader(key):
                self.send_header(key, answer.getheader(key))
        self.send_header("Connection", "close")
        self.end_headers()
        place = re.match(r"bytes (\d+)-", answer.getheader("Content-Range") or "")
        offset = int(place.group(1)) if place else 0
        self.server.requests.append(offset)
        try:
            while True:
                data = answer.read1(65536)
                if not data:
                    break
                self.wfile.write(data)
                self.server.keep(offset, data)
                offset += len(data)
        except (OSError, http.client.HTTPException):
            pass  # the player hung up, or the viewer is gone
        finally:
            upstream.close()
            self.close_connection = True


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def make_video(path):
    """60 seconds that are hard to compress away: 640x360, moving, with sound."""
    run = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
           "testsrc2=size=640x360:rate=25:duration=60", "-f", "lavfi", "-i",
           "sine=frequency=440:duration=60", "-c:v", "libx264", "-preset", "ultrafast",
           "-b:v", "1500k", "-minrate", "1500k", "-maxrate", "1500k", "-bufsize", "1500k",
           "-x264-params", "nal-hrd=cbr", "-g", "50", "-c:a", "aac", "-b:a", "96k",
           "-movflags", "+faststart", str(path)]
    subprocess.run(run, check=True)


def probe(path):
    """How many seconds it has."""
    done = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                           "stream=codec_type:format=duration", "-of", "json", str(path)],
                          check=False, capture_output=True)
    known = json.loads(done.stdout or "{}") if done.returncode == 0 else {}
    try:
        duration = float(known["format"]["duration"]) if known["streams"] else 0
    except (KeyError, ValueError):
        duration = 0
    if duration <= 0:
        raise Failed(f"{path}: ffprobe finds no film of a known length in it; give another one")
    return duration


class Player:
    """ffmpeg decoding frames from a link; framecrc prints a line a frame. With `sound` it also
    takes the packets of all sound."""

    def __init__(self, url, log, *before, seconds=None, sound=False):
        command = ["ffmpeg", "-v", "warning", "-nostdin", *before, "-i", url]
        if seconds:
            command += ["-t", str(seconds)]
        command += ["-map", "0:v:0"]
        if sound:
            command += ["-map", "0:a?", "-c:a", "copy"]
        command += ["-f", "framecrc", "-flush_packets", "1", "-"]
        self.started = time.monotonic()
        self.first_frame = None
        self.frames = 0
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log,
                                        start_new_session=True)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if not line.startswith(b"0,"):
                continue  # about the streams, or of sound
            self.frames += 1
            if self.first_frame is None:
                self.first_frame = time.monotonic() - self.started
                self.ready.set()
        self.ready.set()

    def wait_first_frame(self, seconds):
        if not self.ready.wait(seconds) or self.first_frame is None:
            raise Failed(f"the player showed no frame within {seconds} s")
        return self.first_frame

    def wait_end(self, seconds):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"the player was not through after {seconds} s") from None
        self.thread.join()
        if status != 0:
            raise Failed(f"the player ended with status {status}")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Demo:
    def __init__(self, args, ending):
        self.args = args
        self.ending = ending
        self.build = pathlib.Path(args.build).resolve()
        self.culvert = str(self.build / "src" / "cli" / "culvert")
        self.dht = str(self.build / "tools" / "culvert-dht")
        self.ledger = str(self.build / "tools" / "culvert-ledger")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-demo-"))
        self.processes = []
        self.players = []
        self.summary = {"ok": False}

    # -- processes

    def start(self, name, command):
        with self.ending:
            self.processes.append(Process(name, command, self.folder / f"{name}.log"))
        return self.processes[-1]

    def node_options(self, name, address):
        state = self.folder / name
        return ["--state", str(state), "--listen", f"{address}:0", "--bootstrap",
                self.contact, "--network", NETWORK, "--quick-start", "--epoch", "5s",
                "--epoch-minimum", "16k", "--json",
                *(["--trace", str(self.folder / f"{name}.trace")] if self.args.trace else [])]

    def ask(self, name, what):
        out = subprocess.run([self.culvert, what, "--state", str(self.folder / name), "--json"],
                             capture_output=True, check=False)
        if out.returncode != 0:
            raise Failed(f"culvert {what} --state {name}: {out.stderr.decode().strip()}")
        return json.loads(out.stdout)

    def ready(self, name):
        """Ends when the relay's descriptor is out."""
        self.find(name).wait_for("relay_ready")

    def find(self, name):
        return next(p for p in self.processes if p.name == name)

    # -- the story

    def run(self):
        video = self.video()
        self.sha = sha256_file(video)
        size = video.stat().st_size
        duration = probe(video)
        bitrate = size / duration
        say(f"Film: {video.name}, {size} octets, {duration:.0f} s, {bitrate * 8 / 1e6:.2f} Mbit/s")

        bootstrap = self.start("bootstrap",
                               [self.dht, "serve", "--listen", "127.10.0.1:0", "--json"])
        self.contact = bootstrap.wait_for("listening")["address"]
        for i in range(1, RELAYS + 1):
            self.start(f"relay{i}", [self.culvert, "relay",
                                     *self.node_options(f"relay{i}", f"127.{10 + i}.0.1")])
        for i in range(1, RELAYS + 1):
            self.ready(f"relay{i}")
        say(f"Network: a DHT node and {RELAYS} relays are up; each was told one DHT contact")

        limit = int(4 * bitrate)
        seeder = self.start("seeder", [self.culvert, "share",
                                       *self.node_options("seeder", "127.20.0.1"),
                                       "--upload-limit", str(limit), str(video)])
        uri = seeder.wait_for("shared")["uri"]
        say(f"Seeder: hidden, shares at most {limit * 8 / 1e6:.1f} Mbit/s\n        {uri}")

        viewer = self.start("viewer", self.viewer_command("viewer", "127.21.0.1", uri))
        recorder = Recorder(viewer.wait_for("link")["url"], self.folder / "received")
        self.play_first(viewer, recorder, size, duration)
        self.play_through(viewer, recorder, size)
        self.show_relays()

        seeder.stop()
        say("Seeder: stopped. A second viewer asks the first alone")
        self.second_viewer(uri, size)
        self.show_ledger()
        self.summary["ok"] = True

    def video(self):
        if self.args.video:
            path = pathlib.Path(self.args.origin, self.args.video)
            if not path.is_file():
                raise Failed(f"{path}: no such file")
            return path.resolve()
        path = self.folder / "film.mp4"
        make_video(path)
        return path

    def viewer_command(self, name, address, uri):
        return [self.culvert, "play", *self.node_options(name, address), "--no-player", "--output",
                str(self.folder / f"{name}.mp4"), uri]

    def play(self, recorder, *before, **how):
        with open(self.folder / "player.log", "ab") as log:
            with self.ending:
                self.players.append(Player(recorder.url(), log, *before, **how))
        return self.players[-1]

    def play_first(self, viewer, recorder, size, duration):
        player = self.play(recorder, "-re")
        path = viewer.wait_for("peer_up")
        first = player.wait_first_frame(SECONDS) + (player.started - viewer.started)
        self.summary["path_ms"] = round(path["at"] * 1000)
        self.summary["first_frame_ms"] = round(first * 1000)
        self.paths()
        say(f"Path:   ready {path['at']:.2f} s after the viewer's start")
        say(f"Player: first frame {first:.2f} s after the viewer's start")

        # Seek to 9/10, after making sure that this part is not there yet.
        target = 0.9
        have = self.ask("viewer", "status")["swarms"][0]["ranges"]
        place = int(size * target)
        missing = not any(first <= place <= last for first, last in have)
        player.stop()
        seeker = self.play(recorder, "-ss", f"{duration * target:.2f}", seconds=1)
        took = seeker.wait_first_frame(SECONDS)
        seeker.stop()
        self.summary["seek_ms"] = round(took * 1000)
        self.summary["seek_was_missing"] = missing
        there = "not yet fetched" if missing else "ALREADY FETCHED"
        say(f"Seek:   to {duration * target:.0f} s, {there}, frame after {took:.2f} s")
        if not missing:
            raise Failed("the part sought was there already: nothing was shown by it")

    def meetings(self):
        """The ways of viewer and seeder to each rendezvous that both are at now."""
        mine, theirs = self.ask("viewer", "path"), self.ask("seeder", "path")
        return [(m["path"], t["path"]) for m in mine for t in theirs
                if m["hidden"] and t["hidden"] and m["path"][-1] == t["path"][-1]]

    def paths(self):
        limit = time.monotonic() + SECONDS
        while not (pairs := self.meetings()):  # a way may just be replaced by another
            if time.monotonic() > limit:
                raise Failed("viewer and seeder have no rendezvous in common")
            time.sleep(0.2)
        mine, theirs = pairs[0]
        self.summary["viewer_hops"] = len(mine)
        self.summary["seeder_hops"] = len(theirs) - 1
        self.summary["viewer_path"] = mine
        self.summary["seeder_path"] = theirs
        say("Hops:   viewer -> " + " -> ".join(mine) + " (rendezvous)")
        say("        seeder -> " + " -> ".join(theirs) + " (the same rendezvous)")
        if len(mine) != 3 or len(theirs) != 4:
            raise Failed("the paths are not three hops each before they meet")

    def play_through(self, viewer, recorder, size):
        player = self.play(recorder, sound=True)
        player.wait_end(3 * SECONDS)
        # Containers have octets that no player reads: take them as a player's
        # connection would, by Range, so that the hash covers the whole file.
        gaps = recorder.gaps(size)
        unread = sum(last + 1 - first for first, last in gaps)
        self.summary["unread_by_player"] = unread
        if unread > size * UNREAD:
            raise Failed(f"the player read {size - unread} of {size} octets only")
        for first, last in gaps:
            self.fetch(recorder.url(), first, last)
        complete = viewer.wait_for("complete")
        self.summary["goodput_mb_s"] = round(size / (complete["at"] -
                                                     self.summary["path_ms"] / 1000) / 1e6, 3)
        received, stored = recorder.sha256(), sha256_file(self.folder / "viewer.mp4")
        self.summary["sha256_equal"] = received == stored == self.sha
        say(f"Film:   {player.frames} frames decoded, goodput {self.summary['goodput_mb_s']} MB/s "
            f"(the seeder's limit)\n        {size - unread} octets read by the player, {unread} that it "
            "had no use for by the demo")
        say(f"SHA-256 of the film           {self.sha}\n"
            f"        the player's connection {received}\n"
            f"        the viewer's store      {stored}")
        if not self.summary["sha256_equal"]:
            raise Failed("what arrived is not what was shared")

    @staticmethod
    def fetch(url, first, last):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        try:
            connection.request("GET", parts.path, headers={"Range": f"bytes={first}-{last}"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"octets {first} to {last} did not come: {error}") from None
        finally:
            connection.close()

    def second_viewer(self, uri, size):
        before = self.ask("viewer", "status")["swarms"][0]["sent"]
        second = self.start("viewer2", self.viewer_command("viewer2", "127.22.0.1", uri))
        second.wait_for("complete")
        stored = sha256_file(self.folder / "viewer2.mp4")
        given = self.ask("viewer", "status")["swarms"][0]["sent"] - before
        self.summary["second_viewer_from_viewer"] = stored == self.sha and given >= size
        say(f"Second viewer: whole film, {given} octets of it from the first viewer, SHA-256 "
            f"{'equal' if stored == self.sha else 'DIFFERENT'}")
        if not self.summary["second_viewer_from_viewer"]:
            raise Failed("the second viewer did not get the film from the first")

    def show_relays(self):
        cells = {}
        for i in range(1, RELAYS + 1):
            cells[f"relay{i}"] = self.ask(f"relay{i}", "status")["cells_relayed"]
        self.summary["cells_relayed"] = cells
        say("Cells:  " + ", ".join(f"{k} {v}" for k, v in cells.items()))
        if sum(1 for v in cells.values() if v) < 5:
            raise Failed("fewer than five relays carried anything")

    def show_ledger(self):
        limit = time.monotonic() + SECONDS
        while True:  # until an epoch of the demo network and its release have passed
            rows, pending, released = 0, 0, 0
            for i in range(1, RELAYS + 1):
                status = self.ask(f"relay{i}", "status")["ledger"]
                rows += status["rows"]
                pending += status["pending"]
                released += status["given"] + status["taken"]
            if (rows and released) or time.monotonic() > limit:
                break
            time.sleep(0.5)
        self.summary["ledger"] = {"rows": rows, "pending": pending, "released": released}
        say(f"Ledger: {rows} rows between relays, {pending} octets pending, {released} released")
        for i in range(1, RELAYS + 1):
            db = self.folder / f"relay{i}" / "ledger.db"
            out = subprocess.run([self.ledger, "verify", "--db", str(db), "--json"],
                                 capture_output=True, check=False)
            if out.returncode != 0:
                raise Failed(f"culvert-ledger verify: {out.stderr.decode().strip()}")
        if not rows or not released:
            raise Failed("the relays' ledger has no released row")

    def clean(self):
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # who is impatient would leave half of it
        for player in self.players:
            player.stop()
        for process in self.processes:
            process.ask_to_end()
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("video", nargs="?")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trace", action="store_true", help="keep what the engines did")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="origin", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    ending = Ending()
    for number in ENDING:  # also where a shell that started this in the background ignores it
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup's
            signal.signal(number, ending)

    demo = Demo(args, ending)
    status = 1
    try:
        demo.run()
        status = 0
        say("All of it held.")
        if args.keep:
            say(f"\nStill running: {demo.find('viewer').wait_for('link', 1)['url']}\n"
                f"Page: {demo.ask('viewer', 'status')['page']}\n"
                f"Folder: {demo.folder}. Ctrl-C ends it.")
            while True:
                time.sleep(3600)
    except Failed as failure:
        demo.summary["failed"] = str(failure)
        say(f"FAILED: {failure}")
        for log in sorted(demo.folder.glob("*.log")):
            text = log.read_text(errors="replace").strip()
            if text:
                say(f"--- {log.name}\n{text[-2000:]}")
    except KeyboardInterrupt:
        status = status and 130
    finally:
        demo.clean()
    if args.json:
        print(json.dumps(demo.summary))
    return status


if __name__ == "__main__":
    sys.exit(main())
