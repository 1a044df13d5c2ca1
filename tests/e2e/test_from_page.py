#!/usr/bin/python3
"""What the page sends to its node, without the page: files that are dropped there, and a
camera's recording that becomes a broadcast; and everybody else who tries the same.

    test_from_page.py CULVERT"""
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import unittest
import urllib.parse

import programs

PIECE = 48 << 10
MINE, OTHER = "0123456789abcdef" * 2, "f" * 32


def webm(seconds, tone):
    """A recording as a browser makes it."""
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
         "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", f"sine=frequency={tone}", "-t",
         str(seconds), "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k",
         "-g", "100", "-c:a", "libopus", "-f", "webm", "-live", "1", "-"],
        capture_output=True, check=True).stdout


class FromPage(programs.Case):
    def node(self):
        self.program = self.start("node", *programs.options(self.folder, "node"), "--direct")
        self.program.wait_for("page")
        page = self.page_of(self.folder / "node")
        self.host, self.token = page.removeprefix("http://").split("/#t=")

    def ask(self, method, path, body=None, headers=None, **query):
        """Status and what was said, with every right unless `headers` say otherwise."""
        to = http.client.HTTPConnection(self.host, timeout=programs.SECONDS)
        self.addCleanup(to.close)
        if query:
            path += "?" + urllib.parse.urlencode(query)
        if headers is None:
            headers = {"Authorization": f"Bearer {self.token}"}
        to.request(method, path, body, headers)
        answer = to.getresponse()
        text = answer.read().decode()
        if answer.headers["Content-Type"] == "application/x-ndjson":
            return answer.status, [json.loads(line) for line in text.splitlines()]
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    def until(self, what):
        limit = time.monotonic() + programs.SECONDS
        while not (value := what()):
            self.assertLess(time.monotonic(), limit, what)
            time.sleep(0.1)
        return value

    # ---- files

    def drop(self, data, name="film.bin", ident=MINE, begin=0):
        for at in range(begin, len(data), PIECE):
            status, drop = self.ask("POST", "/api/drops", data[at:at + PIECE], id=ident, name=name,
                                    length=len(data), at=at)
            self.assertEqual(status, 200, drop)
        return drop

    def test_files(self):
        self.node()
        film = os.urandom(1_000_000)
        self.drop(film[:2 * PIECE] + bytes(1), "half.bin", OTHER)  # one octet more is promised
        status, drop = self.ask("POST", "/api/drops", film[:PIECE], id=MINE, name="film.bin",
                                length=len(film), at=0)
        self.assertEqual((status, drop["at"], drop["whole"]), (200, PIECE, False))
        # A piece that comes again, and one that is too early, change nothing.
        for at in (0, 2 * PIECE):
            status, drop = self.ask("POST", "/api/drops", film[at:at + PIECE], id=MINE,
                                    name="film.bin", length=len(film), at=at)
            self.assertEqual((status, drop["at"]), (200, PIECE))
        drop = self.drop(film, begin=PIECE)
        self.assertEqual((drop["at"], drop["whole"]), (len(film), True))
        kept = self.folder / "node" / "dropped" / MINE / "film.bin"
        self.assertEqual(kept.read_bytes(), film)
        self.assertEqual(os.stat(kept).st_mode & 0o777, 0o600)

        def swarm():
            return [s for s in self.ask("GET", "/api/swarms")[1] if s["name"] == "film.bin"]
        opened, = self.until(swarm)
        self.assertTrue(opened["sharing"] and not opened["direct"])  # hidden, though the node may
        self.assertEqual(opened["length"], len(film))
        # It is there after a restart; what was not whole is not.
        self.ask("POST", "/api/drops", b"x", id="a" * 32, name="half", length=2, at=0)
        self.assertEqual(self.program.end()[0], 0)
        self.node()
        self.assertEqual([d["name"] for d in self.ask("GET", "/api/drops")[1]
                          if d["id"] == MINE], ["film.bin"])
        self.assertEqual([d for d in self.ask("GET", "/api/drops")[1] if d["name"] == "half"], [])
        self.assertEqual(self.until(swarm)[0]["uri"], opened["uri"])
        self.index_in_front()
        self.assertEqual(self.ask("DELETE", "/api/drops", id=MINE), (200, {"removed": True}))
        self.assertEqual(self.ask("DELETE", "/api/drops", id=MINE), (200, {"removed": False}))
        self.until(lambda: not swarm())
        self.assertFalse(kept.parent.exists())

    def index_in_front(self):
        """A film whose index is at its end begins at once for those who fetch it: the copy that
        was dropped is the node's, and is turned round before it is shared."""
        path = self.folder / "turned.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
                        "testsrc2=size=160x90:rate=25:duration=2", "-c:v", "libx264", "-preset",
                        "ultrafast", "-pix_fmt", "yuv420p", str(path)], check=True)
        film = path.read_bytes()
        self.assertLess(film.index(b"mdat"), film.index(b"moov"))
        self.drop(film, "turned.mp4", "c" * 32)
        self.until(lambda: [s for s in self.ask("GET", "/api/swarms")[1]
                            if s["name"] == "turned.mp4" and s["sharing"]])
        kept, = (self.folder / "node" / "dropped" / ("c" * 32)).iterdir()
        self.assertEqual(kept.name, "turned.mp4")
        data = kept.read_bytes()
        self.assertEqual(len(data), len(film))
        self.assertLess(data.index(b"moov"), data.index(b"mdat"))
        self.assertEqual(os.stat(kept).st_mode & 0o777, 0o600)
        self.assertFalse(kept.parent.with_suffix(".part").exists())
        self.assertEqual([d["name"] for d in self.ask("GET", "/api/drops")[1]
                          if d["id"] == "c" * 32], ["turned.mp4"])
        sums = [subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(p), "-f", "md5", "-"],
                               check=True, capture_output=True).stdout for p in (path, kept)]
        self.assertEqual(*sums)

    def slow_ones(self):
        """Connections that take their time with what they want. Nobody keeps one by sending an
        octet now and then, and what is too many is closed."""
        host, port = self.host.split(":")
        beginnings = [b"", b"GET / HTTP/1.1\r\nX: ",
                      f"POST /api/drops HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: 60000"
                      "\r\n\r\n".encode(),
                      f"GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\nGET / HT".encode()]
        slow = [socket.create_connection((host, int(port)), programs.SECONDS) for _ in beginnings]
        for sock, begin in zip(slow, beginnings):
            self.addCleanup(sock.close)
            sock.sendall(begin)
        limit = time.monotonic() + programs.SECONDS
        while slow:  # what was closed refuses what is sent, or says so
            self.assertLess(time.monotonic(), limit, slow)
            time.sleep(0.5)
            for sock in list(slow):
                try:
                    sock.sendall(b"a")
                    sock.setblocking(False)
                    while data := sock.recv(65536):  # an answer to a first request
                        self.assertTrue(data)
                    slow.remove(sock)
                except BlockingIOError:
                    sock.setblocking(True)
                except OSError:
                    slow.remove(sock)
        many = []
        for _ in range(400):
            many.append(socket.create_connection((host, int(port)), programs.SECONDS))
            self.addCleanup(many[-1].close)
        self.until(lambda: len(os.listdir(f"/proc/{self.program.process.pid}/fd")) < 300)
        for sock in many:
            sock.close()
        self.until(lambda: self.reached())

    def reached(self):
        try:
            return self.ask("GET", "/api/status")[0] == 200
        except OSError:
            return False

    def test_who_may_not(self):
        self.node()
        self.slow_ones()
        bearer = {"Authorization": f"Bearer {self.token}"}
        good = {"id": MINE, "name": "film.bin", "length": 4, "at": 0}
        heads = [({}, 401), ({"Authorization": "Bearer " + "0" * 32}, 401),
                 ({"Cookie": f"token={self.token}"}, 401),
                 ({**bearer, "Host": "evil.example"}, 421),
                 ({**bearer, "Origin": "http://evil.example"}, 403),
                 ({**bearer, "Origin": "null"}, 403),
                 ({**bearer, "Sec-Fetch-Site": "cross-site"}, 403),
                 ({**bearer, "Sec-Fetch-Site": "same-site"}, 403)]
        for headers, want in heads:
            for method, path, query in (("POST", "/api/drops", good), ("GET", "/api/drops", {}),
                                        ("DELETE", "/api/drops", {"id": MINE}),
                                        ("GET", "/api/ledger", {}),
                                        ("POST", "/api/camera", {"session": MINE, "number": 0}),
                                        ("DELETE", "/api/camera", {"session": MINE})):
                status, _ = self.ask(method, path, b"data" if method == "POST" else None, headers,
                                     **query)
                self.assertEqual(status, want, (method, path, headers))
        rows = [({"name": "../x"}, 400), ({"name": "/etc/x"}, 400), ({"name": ".."}, 400),
                ({"name": ""}, 400), ({"name": "a\nb"}, 400), ({"name": "a" * 256}, 400),
                ({"id": "../" + MINE[3:]}, 400), ({"id": MINE.upper()}, 400), ({"id": ""}, 400),
                ({"length": 0}, 400), ({"length": 3}, 400), ({"length": -1}, 400),
                ({"length": "4e3"}, 400), ({"length": 10 ** 30}, 400), ({"at": 1}, 400),
                ({"at": "0x0"}, 400), ({"length": 9, "at": 1}, 404), ({"length": 10 ** 17}, 507)]
        for change, want in rows:
            status, said = self.ask("POST", "/api/drops", b"data", **{**good, **change})
            self.assertEqual(status, want, (change, said))
            self.assertTrue(want != 400 or said["error"], change)
        self.assertEqual(self.ask("POST", "/api/drops", b"data")[0], 400)
        self.assertEqual(self.ask("POST", "/api/drops", b"", **good)[0], 400)
        self.assertEqual(self.ask("GET", "/api/drops"), (200, []))
        self.assertEqual(os.listdir(self.folder / "node" / "dropped"), [])
        # Too much at once is not even read.
        try:
            status, _ = self.ask("POST", "/api/drops", bytes(300 << 10),
                                 **{**good, "length": 300 << 10})
            self.assertGreaterEqual(status, 400)
        except ConnectionError:
            pass
        self.assertEqual(self.ask("GET", "/api/drops"), (200, []))
        # Others are served while many promise much and send little.
        for _ in range(20):
            s = socket.create_connection(self.host.split(":"), timeout=programs.SECONDS)
            self.addCleanup(s.close)
            s.sendall(b"POST /api/drops HTTP/1.1\r\nHost: " + self.host.encode() +
                      b"\r\nContent-Length: 60000\r\n\r\nx")
        self.assertEqual(self.ask("GET", "/api/drops"), (200, []))
        # Without a command that broadcasts it, no camera is taken.
        self.assertEqual(self.ask("POST", "/api/camera", b"x", session=MINE, number=0)[0], 503)
        self.assertEqual(self.ask("GET", "/api/status")[1]["camera"], "none")
        # And other commands' nodes take no files.
        share = self.start("share", *programs.options(self.folder, "share"), "--direct",
                           self.film(1000))
        share.wait_for("shared")
        to = http.client.HTTPConnection("culvert")
        self.addCleanup(to.close)
        to.sock = socket.socket(socket.AF_UNIX)
        to.sock.connect(str(self.folder / "share" / "api.sock"))
        to.request("POST", "/api/drops?" + urllib.parse.urlencode(
            {"id": MINE, "name": "a", "length": 1, "at": 0}), b"x")
        answer = to.getresponse()
        self.assertEqual(answer.status, 503)
        self.assertIn("Only a node", answer.read().decode())

    # ---- the camera

    def record(self, session, data, size=20_000):
        """Pieces of a recording, each twice: what was answered may not have arrived."""
        for number, at in enumerate(range(0, len(data), size)):
            for _ in range(2):
                status, said = self.ask("POST", "/api/camera", data[at:at + size], session=session,
                                        number=number)
                self.assertEqual((status, said), (200, {"number": number}))
        return number

    def test_a_camera(self):
        self.node()
        out = self.folder / "recorded.ts"  # what is broadcast, and nothing else
        live = self.start("live", "--state", self.folder / "node", "--network", "e2e", "--direct",
                          "--record", out, "--json", "camera:")
        live.wait_for("live")
        live.wait_for("ingest")
        self.assertEqual(self.ask("GET", "/api/status")[1]["camera"], "waits")
        first, second = webm(3, 440), webm(3, 880)
        number = self.record(MINE, first)
        self.assertEqual(self.ask("GET", "/api/status")[1]["camera"], "records")
        rows = [((MINE, number + 2), 409), ((OTHER, 0), 409), ((OTHER, 1), 409), (("x", 0), 400)]
        for (session, piece), want in rows:
            self.assertEqual(self.ask("POST", "/api/camera", b"x", session=session,
                                      number=piece)[0], want)
        # A gap: another recording goes on, with what cannot be read between them.
        self.assertEqual(self.ask("DELETE", "/api/camera", session=MINE)[0], 200)
        self.record(OTHER, b"nobody can read this" * 2000)
        self.ask("DELETE", "/api/camera", session=OTHER)
        self.record("a" * 32, second)
        self.ask("DELETE", "/api/camera", session="a" * 32)
        # A second command does not take it away.
        other = self.start("live", "--state", self.folder / "node", "--network", "e2e", "--direct",
                           "--key", self.folder / "other.pem", "--json", "camera:")
        self.assertIn("another command", other.wait_for("error")["text"])
        self.assertEqual(other.process.wait(programs.SECONDS), 1)
        self.running.remove(other)
        other.end()

        def frames():
            said = subprocess.run(
                ["ffprobe", "-v", "quiet", "-count_packets", "-select_streams", "v",
                 "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(out)],
                capture_output=True, text=True, check=False).stdout
            return int(re.match(r"\d*", said).group() or 0)
        # 30 frames a second come out of what ffmpeg makes of three seconds, twice.
        self.until(lambda: frames() >= 150)
        self.assertEqual(live.end()[0], 0)
        self.until(lambda: self.ask("GET", "/api/status")[1]["camera"] == "none")
        self.assertEqual(self.ask("POST", "/api/camera", b"x", session=MINE, number=0)[0], 503)

    def test_a_feed_is_a_pipe_of_a_command(self):
        self.node()
        victim = self.folder / "victim"
        victim.write_text("as it was")
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        with open(victim, "r", encoding="utf-8") as opened:
            for feed in (victim, fifo, "/proc/self/mem", f"/proc/{os.getpid()}/fd/{opened.fileno()}",
                         "/proc/1/fd/0/../../../etc/passwd", "relative"):
                status, said = self.ask("POST", "/api/tasks", json.dumps(
                    {"verb": "live", "argument": str(victim), "folder": "/", "feed": str(feed),
                     "options": {"direct": "yes"}}))
                self.assertEqual(status, 200)
                self.assertIn("is no pipe of a command", json.dumps(said), feed)
        self.assertEqual(victim.read_text(), "as it was")

    def test_a_relay_has_a_page_and_does_nothing_else(self):
        relay = self.start("relay", *programs.options(self.folder, "relay"))
        relay.wait_for("page")
        page = self.page_of(self.folder / "relay")
        self.host, self.token = page.removeprefix("http://").split("/#t=")
        self.assertEqual(self.ask("GET", "/api/ledger"), (200, {"rows": [], "relays": []}))
        self.assertEqual(self.ask("GET", "/api/ledger", headers={})[0], 401)
        self.assertIn("<title>culvert</title>", self.ask("GET", "/", headers={})[1])
        status, said = self.ask("POST", "/api/drops", b"x", id=MINE, name="a", length=1, at=0)
        self.assertEqual(status, 503, said)


if __name__ == "__main__":
    programs.main()
