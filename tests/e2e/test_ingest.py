#!/usr/bin/env python3
"""What an encoder pushes becomes a broadcast: RTMP, and MPEG-TS over TCP and UDP, from
ffmpeg, as OBS or a phone would; an encoder that comes back goes on in the same swarm;
a running node does it for the command, and pipes and files, too.

Runs in a network namespace, where no port is anybody else's."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import unittest
import unittest.mock

import programs
from test_live import Source

PORT = 1935


@contextlib.contextmanager
def camera(url, kind):
    """Pictures and a tone in real time, from an encoder that then hangs up without a word."""
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i",
         "testsrc2=size=320x180:rate=25", "-re", "-f", "lavfi", "-i", "sine", "-c:v", "libx264",
         "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p",
         "-c:a", "aac", "-metadata", "title=not for viewers", "-f", kind, url])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def pictures(path):
    """The time in seconds of every picture that a player would show."""
    done = subprocess.run(["ffprobe", "-v", "quiet", "-select_streams", "v", "-show_entries",
                           "packet=pts_time", "-of", "csv=p=0", str(path)], check=False,
                          capture_output=True, text=True)
    return [float(line.strip(",")) for line in done.stdout.split()]


class Ingest(Source):
    def node(self):
        self.start("node", *programs.options(self.folder, "node"), "--direct").wait_for("listening")
        return ["--state", str(self.folder / "node"), "--network", "e2e", "--direct", "--json"]

    def own(self, name):
        return [*programs.options(self.folder, name), "--direct"]

    def watch(self, live, name):
        out = self.folder / f"{name}.ts"
        viewer = self.start("get", *programs.options(self.folder, name), "--direct", "--peer",
                            live["address"], "-o", out, live["uri"])
        return viewer, out

    def until(self, condition, what):
        limit = time.monotonic() + programs.SECONDS
        while not condition():
            self.assertLess(time.monotonic(), limit, what)
            time.sleep(0.2)

    def behind_gap(self, path):
        """The pictures behind the first gap in time, while there was no encoder."""
        times = pictures(path)
        gaps = [i for i in range(1, len(times)) if times[i] - times[i - 1] > 0.5]
        return times[gaps[0]:] if gaps else []

    def test_rtmp_and_its_encoder_comes_back(self):
        url = f"rtmp://127.0.0.1:{PORT}/show"
        source = self.start("live", *self.node(), url)
        live = source.wait_for("live")
        self.assertIn("&n=live&", live["uri"])
        self.assertEqual(source.wait_for("ingest")["url"], url)
        _, out = self.watch(live, "viewer")
        self.until(lambda: self.listened("tcp"), "ffmpeg")
        with camera(url + "/key", "flv"):
            self.until(lambda: len(pictures(out)) >= 25, "pictures")
        source.wait_for("ingest", count=2)
        self.until(lambda: self.listened("tcp"), "ffmpeg again")
        with camera(url + "/key", "flv"):
            self.until(lambda: len(self.behind_gap(out)) >= 25, "the second encoder's pictures")
        source.wait_for("ingest", count=3)
        self.assertNotIn(b"not for viewers", out.read_bytes())
        # Programme maps of another version: players look at what the second one sends.
        versions = re.findall(rb"\x47\x50\x00.\x00\x02\xb0.\x00\x01(.)", out.read_bytes(), re.S)
        self.assertEqual({*versions}, {b"\xc1", b"\xc3"})
        # Both, one behind the other in time, in the one swarm that there was.
        times = pictures(out)
        self.assertEqual(times, sorted(times))
        self.assertEqual(len([e for e in source.events if e["event"] == "live"]), 1)
        # Killed, it leaves nothing behind that keeps the port.
        source.end(signal.SIGKILL)
        self.until(lambda: socket.socket().connect_ex(("127.0.0.1", PORT)) != 0, "the port")

    def test_ts_over_tcp_and_udp(self):
        for kind, options in (("tcp", ""), ("udp", "?pkt_size=1316")):
            with self.subTest(kind):
                url = f"{kind}://127.0.0.1:{PORT}"
                source = self.start("live", *self.own(kind), url)
                live = source.wait_for("live")
                source.wait_for("ingest")
                viewer, out = self.watch(live, f"viewer-{kind}")
                # Nobody answers a UDP encoder: what comes before we listen is lost.
                self.until(lambda: self.listened(kind), "ffmpeg")
                with camera(url + options, "mpegts"):
                    self.until(lambda: len(pictures(out)) >= 25, "pictures")
                self.assertNotIn(b"not for viewers", out.read_bytes())
                self.assertEqual(viewer.end()[0], 130)
                self.assertEqual(source.end()[0], 0)

    def listened(self, kind):
        """The port is open, and to this machine only."""
        # Rows of the kernel: number, local and remote address in hexadecimal, state, ...
        listens = {"tcp": "0A", "udp": "07"}[kind]
        with open(f"/proc/net/{kind}", encoding="ascii") as rows:
            fields = [row.split() for row in list(rows)[1:]]
        own = [row[1] for row in fields if row[1].endswith(f":{PORT:04X}") and row[3] == listens]
        self.assertEqual({*own} - {f"0100007F:{PORT:04X}"}, set(), "strangers can push, too")
        return bool(own)

    def test_what_nobody_can_read_and_who_says_nothing_end_nothing(self):
        for kind, end, garbage in (("rtmp", "flv", 0), ("tcp", "mpegts", 3)):
            with self.subTest(kind):
                url = f"{kind}://127.0.0.1:{PORT}" + ("/live" if kind == "rtmp" else "")
                source = self.start("live", *self.own(kind), url)
                live = source.wait_for("live")
                for count in range(1, garbage + 2):
                    source.wait_for("ingest", count=count)
                    self.until(lambda: self.listened("tcp"), "ffmpeg")
                    with socket.create_connection(("127.0.0.1", PORT)) as pushes:
                        if count <= garbage:  # the last one is silent, and stays
                            pushes.sendall(b"no encoder ever said this " * 999)
                            pushes.shutdown(socket.SHUT_WR)
                        source.wait_for("ingest_unread", count=count)
                source.wait_for("ingest", count=garbage + 2)
                _, out = self.watch(live, f"viewer-{kind}")
                self.until(lambda: self.listened("tcp"), "ffmpeg")
                with camera(url, end):
                    self.until(lambda: len(pictures(out)) >= 25, "pictures")
                self.assertEqual(source.end()[0], 0)

    def test_a_pipe_and_a_file_through_a_running_node(self):
        node = self.node()
        read, write = os.pipe()
        source = programs.Program("live", *node, "--name", "piped", "-", stdin=read)
        os.close(read)
        self.running.append(source)
        live = source.wait_for("live")
        self.assertIn("&n=piped&", live["uri"])
        viewer, out = self.watch(live, "viewer")
        said = os.urandom(700_000)
        os.write(write, said[:65536])
        viewer.wait_for("tuned")
        with os.fdopen(write, "wb") as pipe:
            pipe.write(said[65536:])
        viewer.wait_for("complete")
        self.assertGreater(self.watched_of(viewer, out.read_bytes(), said), 600_000)
        self.assertEqual(source.process.wait(programs.SECONDS), 0)
        # The channel goes on with a file; a name without a folder is the command's.
        (self.folder / "grows.ts").write_bytes(said[:65536])
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)
        source = self.start("live", *node, "grows.ts")
        again = source.wait_for("live")
        os.chdir(before)
        self.assertEqual(again["uri"].split("&")[0], live["uri"].split("&")[0])
        viewer, out = self.watch(again, "second")
        viewer.wait_for("tuned")
        with open(self.folder / "grows.ts", "ab") as grows:
            grows.write(said[65536:])
        self.until(lambda: viewer.hears("dropped", 0) or out.stat().st_size > 600_000, "what the file grew by")
        # Twice at once is refused in one line.
        status, _, err = programs.run("live", *node, self.folder / "grows.ts")
        self.assertEqual(status, 1)
        self.assertIn("is open in this node already", err)

    def test_bad_input(self):
        taken = socket.create_server(("127.0.0.1", PORT + 1))
        self.addCleanup(taken.close)
        rows = [
            ("rtmp://192.0.2.1:1935/live", 2, "loopback"),
            ("rtmp://localhost:1935/live", 2, "IP:PORT"),
            ("udp://127.0.0.1", 2, "IP:PORT"),
            ("tcp://127.0.0.1:0", 2, "IP:PORT"),
            ("tcp://127.0.0.1:9000/x", 2, "path"),
            ("rtmp://127.0.0.1:1935/a?listen=0", 2, "letters"),
            (f"tcp://127.0.0.1:{PORT + 1}", 4, "in use"),
        ]
        for url, status, text in rows:
            with self.subTest(url):
                got, _, err = programs.run("live", *self.own("bad"), url)
                self.assertEqual(got, status, err)
                self.assertIn(text, err)
        with unittest.mock.patch.dict(os.environ, PATH="/nowhere"):
            got, _, err = programs.run("live", *self.own("bad"), f"rtmp://127.0.0.1:{PORT}")
        self.assertEqual(got, 1)
        self.assertIn("install it", err)


if __name__ == "__main__":
    programs.alone()
    programs.main()
