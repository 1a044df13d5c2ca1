#!/usr/bin/env python3
"""A folder as one swarm: shared, played file by file, got back; and what strangers
write into its index."""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import struct
import subprocess
import time
import unittest
import urllib.parse

import programs

CHUNK = 1024


def index_of(files):
    """The index of [(path, size)] and the offsets, by the words of docs/protocol/folder.md."""
    octets = 8
    while True:
        at, rows = octets, []
        for path, size in files:
            at = -(-at // CHUNK) * CHUNK
            rows.append({"path": path, "size": size, "offset": at})
            at += size
        text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
        first = -(-(8 + len(text)) // CHUNK) * CHUNK
        if first == rows[0]["offset"]:
            return text, [row["offset"] for row in rows]
        octets = first


def with_f(uri):
    """The same link as that of a folder."""
    body = uri[:uri.rindex("&c=")] + "&f=1"
    check = hashlib.blake2b(body.encode(), digest_size=32).digest()[:5]
    return body + "&c=" + base64.b32encode(check).decode().lower().rstrip("=")


class Folder(programs.Case):
    FILES = {"one.mp4": 300_000, "season 1/e01 & more.ts": 100_001, "season 1/e02.ts": 5,
             "season 1/sub/größe.srt": 1024, "empty.txt": 0, "z/last": 70_000}

    def make(self, name="films"):
        top = self.folder / name
        for path, size in self.FILES.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(os.urandom(size))
        return top

    def share(self, what, state="seeder", *more):
        seeder = self.start("share", "--direct", *programs.options(self.folder, state), *more, what)
        return seeder.wait_for("shared")

    def get_args(self, shared, out, uri=None):
        return ["get", "--direct", "--peer", shared["address"],
                *programs.options(self.folder, "viewer"), "-o", out, uri or shared["uri"]]

    def contents(self, state="viewer"):
        return list((self.folder / state).glob("content-*"))

    def same(self, one, two):
        done = subprocess.run(["diff", "-r", one, two], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    def test_get_gives_it_back(self):
        top = self.make()
        shared = self.share(f"{top}/")
        self.assertIn("&n=films&", shared["uri"])
        self.assertIn("&f=1&", shared["uri"])
        out = self.folder / "out"
        status, _, err = programs.run(*self.get_args(shared, out))
        self.assertEqual(status, 0, err)
        self.same(top, out)
        self.assertEqual(self.contents(), [])  # it is not kept twice
        # Again: what is there is the same, and stays.
        before = (out / "one.mp4").stat().st_ino
        status, _, err = programs.run(*self.get_args(shared, out))
        self.assertEqual(status, 0, err)
        self.assertEqual((out / "one.mp4").stat().st_ino, before)
        # One that differs is not overwritten, and nothing that was fetched is lost.
        (out / "one.mp4").write_bytes(b"mine")
        status, _, err = programs.run(*self.get_args(shared, out))
        self.assertEqual(status, 5)
        self.assertIn(f"culvert: {out}/one.mp4: is there already and differs; move it away, or "
                      "name another folder with -o\n", err)
        self.assertEqual((out / "one.mp4").read_bytes(), b"mine")
        self.assertEqual(len(self.contents()), 1)

    def test_what_is_at_the_output(self):
        shared = self.share(self.make())
        for name in ("file", "link"):
            out = self.folder / name
            if name == "file":
                out.write_bytes(b"x")
            else:
                out.symlink_to("/tmp")
            status, _, err = programs.run(*self.get_args(shared, out))
            self.assertEqual(status, 5)
            self.assertIn(f"culvert: {out}: exists already and is no folder; choose another name "
                          "or move it away\n", err)
        status, _, err = programs.run(
            "play", "--no-player", "--direct", "--peer", shared["address"],
            *programs.options(self.folder, "viewer"), "-o", self.folder / "x", shared["uri"])
        self.assertEqual(status, 2)
        self.assertIn("culvert: play keeps a folder in the cache; fetch it with get -o FOLDER\n",
                      err)

    def test_killed_in_the_middle(self):
        big = self.folder / "big"
        big.mkdir()
        for i in range(30):
            (big / f"{i:02}").write_bytes(os.urandom(700_000))
        shared = self.share(big, "seeder", "--upload-limit", "20M")
        out = self.folder / "out"
        for wait in (0.2, 0.5, 0.9, 1.3):  # slowly, so that none comes to its end
            viewer = programs.Program(*self.get_args(shared, out), "--download-limit", "2M")
            viewer.wait_for("link")
            time.sleep(wait)
            viewer.process.kill()
            viewer.process.communicate()
        status, _, err = programs.run(*self.get_args(shared, out))
        self.assertEqual(status, 0, err)
        self.same(big, out)

    def ask(self, url, method="GET", **headers):
        link = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(link.hostname, link.port, timeout=programs.SECONDS)
        connection.request(method, f"{link.path}?{link.query}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def test_play_gives_its_files_by_path(self):
        top = self.make()
        shared = self.share(top)
        viewer = self.start("play", "--no-player", "--direct", "--peer", shared["address"],
                            *programs.options(self.folder, "viewer"), shared["uri"])
        link = viewer.wait_for("link")
        self.assertEqual(link["files"], len(self.FILES))
        answer, body = self.ask(link["url"])
        self.assertEqual((answer.status, answer.getheader("Content-Type")),
                         (200, "audio/x-mpegurl"))
        lines = body.decode().splitlines()
        self.assertEqual(lines[0], "#EXTM3U")
        listed = dict(zip((line.split(",", 1)[1] for line in lines[1::2]), lines[2::2]))
        films = [name for name in self.FILES if not name.endswith(".srt")]
        self.assertEqual(list(listed), sorted(films, key=str.encode))
        base, token = link["url"].split("?")
        for name in set(self.FILES) - set(films):  # not to be played by themselves, but there
            listed[name] = f"{base}/{urllib.parse.quote(name)}?{token}"
        tags = set()
        for path, size in self.FILES.items():
            data = (top / path).read_bytes()
            with self.subTest(path):
                answer, body = self.ask(listed[path])
                self.assertEqual((answer.status, body), (200, data))
                tags.add(answer.getheader("ETag"))
                answer, body = self.ask(listed[path], "HEAD")
                self.assertEqual((answer.getheader("Content-Length"), body), (str(size), b""))
                rows = [("bytes=0-0", 206, 0, 0), ("bytes=3-4", 206, 3, 4),
                        ("bytes=-2", 206, size - 2, size - 1), ("bytes=1-", 206, 1, size - 1),
                        (f"bytes={size}-", 416, 0, -1)] if size > 4 else []
                for text, status, first, last in rows:
                    answer, body = self.ask(listed[path], Range=text)
                    self.assertEqual((answer.status, body), (status, data[first:last + 1]), text)
                    if status == 206:
                        self.assertEqual(answer.getheader("Content-Range"),
                                         f"bytes {first}-{last}/{size}")
                    else:
                        self.assertEqual(answer.getheader("Content-Range"), f"bytes */{size}")
        self.assertEqual(len(tags), len(self.FILES))
        for path in ("season%201", "..", "../one.mp4", "%2e%2e/one.mp4", "one.mp4/", "one.mp4%00",
                     "/one.mp4", "none"):
            with self.subTest(path):
                answer, _ = self.ask(f"{base}/{path}?{token}")
                self.assertEqual(answer.status, 404)
        answer, _ = self.ask(listed["one.mp4"].split("?")[0] + "?k=" + "0" * 32)
        self.assertEqual(answer.status, 403)

    def test_what_cannot_be_shared(self):
        top = self.folder / "films"
        rows = [
            ("nothing", lambda: None, "{top}: holds no file; there is nothing to share"),
            ("a link", lambda: (top / "x").symlink_to("/etc/passwd"),
             "{top}/x: is a link; a shared folder holds files and folders only"),
            ("a pipe", lambda: os.mkfifo(top / "x"),
             "{top}/x: is no plain file; a shared folder holds files and folders only"),
            ("a control character", lambda: (top / "x\x01").write_bytes(b"1"),
             "{top}/x\x01: has a control character, so it cannot be shared; rename it"),
            ("not UTF-8", lambda: (top / os.fsdecode(b"\xff")).write_bytes(b"1"),
             "{top}/\ufffd: is not UTF-8, so it cannot be shared; rename it"),
        ]
        for name, make, line in rows:
            with self.subTest(name):
                top.mkdir()
                make()
                done = subprocess.run(
                    [programs.CULVERT, "share", "--direct",
                     *programs.options(self.folder, "seeder"), top],
                    capture_output=True, timeout=programs.SECONDS, check=False)
                err = done.stderr.decode(errors="replace")
                self.assertEqual(done.returncode, 5, err)
                self.assertIn(f"culvert: {line.format(top=top)}\n", err.replace("?", "\ufffd")
                              if name == "not UTF-8" else err)
                for path in top.iterdir():
                    path.unlink()
                top.rmdir()

    def test_hostile_indexes(self):
        """A file that a stranger made and calls a folder: nothing of it gets a name."""
        evil = [
            ("leads up", [("../evil", 9)], "the path '../evil' leads elsewhere"),
            ("leads up inside", [("a/../../evil", 9)], "the path 'a/../../evil' leads elsewhere"),
            ("absolute", [("/tmp/evil", 9)], "the path '/tmp/evil' has an empty part"),
            ("a NUL", [("evil\0", 9)], "is not JSON"),
            ("an escape", [("evil\x1b[2J", 9)], "the path 'evil?[2J' has a control character"),
            ("twice", [("evil", 9), ("evil", 9)], "'evil' is there twice"),
            ("a file as a folder", [("evil", 9), ("evil/evil", 9)],
             "'evil' is a file and a folder"),
        ]
        raw = [
            ("no index", b"RIFF" + bytes(5000), "is none, or too large"),
            ("a huge index", b"CVF1\xff\xff\xff\xff" + bytes(5000), "is none, or too large"),
            ("cut", b"CVF1" + struct.pack(">I", 4000) + b"[" + bytes(3999), "is not JSON"),
            ("too many", b"CVF1" + struct.pack(">I", 45001) + b"[" + b"{}," * 14999 + b"{}]",
             "holds more than a list of files"),
            ("beyond the end", None, "its files are not as large as the content"),
        ]
        text, _ = index_of([("evil", 10**12)])
        raw[-1] = (raw[-1][0], b"CVF1" + struct.pack(">I", len(text)) + text + bytes(5000),
                   raw[-1][2])
        for name, files, why in evil:
            text, offsets = index_of(files)
            content = bytearray(b"CVF1" + struct.pack(">I", len(text)) + text)
            for offset, (_, size) in zip(offsets, files):
                content += bytes(offset - len(content)) + b"x" * size
            raw.append((name, bytes(content), why))
        films = []
        for i, (name, content, why) in enumerate(raw):
            path = self.folder / f"evil-{i}"
            path.write_bytes(content)
            films.append(path)
        seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"), *films)
        seeder.wait_for("shared", count=len(films))
        said = {urllib.parse.parse_qs(e["uri"].split("?", 1)[1])["n"][0]: e
                for e in seeder.events if e["event"] == "shared"}
        for i, (name, content, why) in enumerate(raw):
            with self.subTest(name):
                shared = said[f"evil-{i}"]
                out = self.folder / f"out-{i}"
                for verb in ("get", "play"):
                    args = self.get_args(shared, out, with_f(shared["uri"]))
                    if verb == "play":
                        del args[args.index("-o"):args.index("-o") + 2]
                        args[:1] = ["play", "--no-player"]
                    status, _, err = programs.run(*args)
                    self.assertEqual(status, 5, err)
                    self.assertIn(f"culvert: the folder's index: {why}\n", err)
                    self.assertFalse(out.exists())
                    self.assertEqual(self.contents(), [])
        self.assertEqual([path for path in self.folder.rglob("*evil*")
                          if path not in films], [])
        self.assertFalse(pathlib.Path("/tmp/evil").exists())

    def test_by_a_running_node(self):
        top = self.make()
        node = self.start("node", *programs.options(self.folder, "n"), "--direct")
        node.wait_for("listening")
        share = self.start("share", "--direct", "--json", "--state", self.folder / "n", top)
        shared = share.wait_for("shared")
        out = self.folder / "out"
        status, _, err = programs.run(*self.get_args(shared, out))
        self.assertEqual(status, 0, err)
        self.same(top, out)


if __name__ == "__main__":
    programs.main()
