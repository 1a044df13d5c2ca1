#!/usr/bin/env python3
"""What makes a film start soon and be understood: its index in front, both ends fetched
first, subtitles beside it."""
import json
import subprocess
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import programs


def pictures(path):
    """A sum over all pictures, decoded."""
    return subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-f", "md5", "-"],
                          check=True, capture_output=True, text=True).stdout


class Watching(programs.Case):
    def film_mp4(self):
        path = self.folder / "film.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
                        "testsrc2=size=160x90:rate=25:duration=3", "-f", "lavfi", "-i",
                        "sine=duration=3", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt",
                        "yuv420p", "-c:a", "aac", str(path)], check=True)
        return path

    def share(self, name, *more):
        return self.start("share", *programs.options(self.folder, name), "--direct", *more)

    def play(self, shared):
        viewer = self.start("play", *programs.options(self.folder, "viewer"), "--direct", "--peer",
                            shared["address"], "--no-player", shared["uri"])
        return viewer.wait_for("link")["url"]

    def test_the_index_comes_in_front(self):
        film = self.film_mp4()
        plain = self.share("s", film)
        plain.wait_for("shared")
        plain.wait_for("index_at_end")
        self.assertIn("&n=film.mp4&", plain.wait_for("shared")["uri"])
        plain.end()
        copy = self.folder / "film.faststart.mp4"
        times = []
        for _ in range(2):  # the second time it is there already
            fast = self.share("s", "--faststart", film)
            shared = fast.wait_for("shared")
            self.assertIn("&n=film.faststart.mp4&", shared["uri"])
            self.assertEqual([e for e in fast.events if e["event"] == "index_at_end"], [])
            times.append(copy.stat().st_mtime_ns)
            data = copy.read_bytes()
            self.assertLess(data.index(b"moov"), data.index(b"mdat"))
            self.assertEqual(len(data), film.stat().st_size)
            if len(times) < 2:
                fast.end()
        self.assertEqual(times[0], times[1])
        self.assertEqual(pictures(copy), pictures(film))
        self.assertEqual(pictures(self.play(shared)), pictures(film))
        self.assertFalse((self.folder / "film.faststart.mp4.part").exists())

    def test_both_ends_come_first(self):
        film = self.film(12_000_000)
        shared = self.share("s", "--upload-limit", "150k", film).wait_for("shared")
        self.play(shared)
        limit = time.monotonic() + programs.SECONDS
        while True:
            _, out, _ = programs.run("status", "--state", self.folder / "viewer", "--json")
            swarm = json.loads(out)["swarms"][0]
            ranges = swarm["ranges"]
            if (ranges and ranges[0][0] == 0 and ranges[0][1] >= (256 << 10) - 1
                    and ranges[-1][0] <= 12_000_000 - (128 << 10)
                    and ranges[-1][1] == 11_999_999):
                break
            self.assertLess(time.monotonic(), limit, ranges)
            time.sleep(0.2)
        self.assertLess(swarm["have"], 6_000_000)
        self.assertGreaterEqual(len(ranges), 2)

    def get(self, url, method="GET"):
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=programs.SECONDS) as a:
            return a.headers, a.read()

    def test_subtitles_beside_it(self):
        top = self.folder / "series"
        top.mkdir()
        (top / "one.mp4").write_bytes(self.film_mp4().read_bytes())
        (top / "one.srt").write_bytes("1\r\n00:00:01,000 --> 00:00:02,500\r\nGrüße\r\n".encode("latin-1"))
        (top / "two.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nas it is\n")
        (top / "long.srt").write_bytes(b"x" * ((4 << 20) + 1))
        link = self.play(self.share("s", top).wait_for("shared"))
        names = [line for line in self.get(link)[1].decode().splitlines() if line[0] != "#"]
        self.assertEqual([urllib.parse.urlsplit(n).path.rsplit("/", 1)[1] for n in names],
                         ["one.mp4"])
        want = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nGrüße\n".encode()
        beside = names[0].replace("one.mp4", "one.vtt")
        headers, body = self.get(beside)
        self.assertEqual(headers["Content-Type"], "text/vtt; charset=utf-8")
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(body, want)
        headers, body = self.get(beside, "HEAD")
        self.assertEqual((int(headers["Content-Length"]), body), (len(want), b""))
        headers, body = self.get(names[0].replace("one.mp4", "two.vtt"))
        self.assertEqual(headers["Content-Type"], "text/vtt")
        self.assertIn(b"as it is", body)
        rows = [("three.vtt", 404), ("long.vtt", 503), ("one.vtt", 403)]
        for name, status in rows:
            url = names[0].replace("one.mp4", name)
            url = url.replace("k=", "k=0") if status == 403 else url
            with self.assertRaises(urllib.error.HTTPError) as refused:
                self.get(url)
            self.assertEqual(refused.exception.code, status, name)
            refused.exception.close()


if __name__ == "__main__":
    programs.main()
