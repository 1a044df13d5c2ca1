#!/usr/bin/python3
"""A broadcast through circuits: camera (ffmpeg) -> culvert live -> relays -> two
viewers, one with a player (ffmpeg again) on its link and one that keeps it.
Nobody has an address of anybody.

    test_live_hidden.py CULVERT CULVERT-DHT
"""
import base64
import datetime
import json
import os
import signal
import struct
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import m3u8
from nacl.signing import VerifyKey

import programs
from village import Village


def camera(pipe):
    """An endless picture with a clock in it, as MPEG-TS, in real time."""
    return subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i",
         "testsrc2=size=320x180:rate=25", "-c:v", "libx264", "-preset", "ultrafast", "-tune",
         "zerolatency", "-g", "25", "-b:v", "600k", "-f", "mpegts", "-"],
        stdout=pipe, stderr=subprocess.DEVNULL)


class LiveHidden(programs.Case):
    def setUp(self):
        super().setUp()
        self.village = Village(self, DHT)

    def broadcast(self):
        """The source with its pipe, and its link."""
        read, write = os.pipe()
        program = programs.Program("live", *self.village.options("source"), "-", stdin=read)
        os.close(read)
        self.running.append(program)
        return write, program.wait_for("live", 120)["uri"]

    def frames(self, url, count):
        """A player opens the link and decodes that many frames."""
        done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", url, "-frames:v",
                               str(count), "-f", "framecrc", "-"], capture_output=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sum(not line.startswith(b"#") for line in done.stdout.splitlines()), count)

    def playlist(self, url):
        """Its lines, and the names of the segments."""
        with urllib.request.urlopen(url, timeout=120) as answer:
            self.assertEqual(answer.headers["Content-Type"], "application/vnd.apple.mpegurl")
            lines = answer.read().decode().splitlines()
        self.assertEqual(lines[0], "#EXTM3U")
        return lines, [line for line in lines if not line.startswith("#")]

    def segments(self, hls):
        """The same broadcast for players of segments: a second each, from key frames on."""
        lines, names = self.playlist(hls)
        self.assertIn("#EXT-X-TARGETDURATION:1", lines)
        self.assertNotIn("#EXT-X-ENDLIST", lines)
        self.assertGreaterEqual(len(names), 3)
        ends, gap, lasts = None, False, []
        for line in lines:  # they join, or it is said that they do not
            gap |= line == "#EXT-X-DISCONTINUITY"
            if line.startswith("#EXTINF:"):
                lasts.append((float(line[8:-1]), gap))
            if not line.startswith("#"):
                first, end = line.split(".")[0].split("-")
                self.assertTrue(gap or ends in (None, first), lines)
                ends, gap = end, False
        for (seconds, _), (_, cut) in zip(lasts, lasts[1:] + [(0, gap)]):
            self.assertLess(seconds, 1.1)
            self.assertTrue(cut or seconds > 0.9, lines)
        with urllib.request.urlopen(urllib.parse.urljoin(hls, names[-1]), timeout=programs.SECONDS) as answer:
            self.assertEqual(answer.headers["Content-Type"], "video/mp2t")
            data = answer.read()
            self.assertEqual(len(data), int(answer.headers["Content-Length"]))
        self.assertEqual({data[i] for i in range(0, len(data), 188)}, {0x47})
        first = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
                                "packet=flags", "-of", "csv=p=0", "-"], input=data,
                               capture_output=True, check=True).stdout.split()
        self.assertTrue(first[0].startswith(b"K"), first[0])
        self.assertIn(len(first), (24, 25, 26))
        self.frames(hls, 50)

    def part(self, hls):
        """The playlist, and the part that it said comes next. What stands still or gets lost on
        the way is asked for again."""
        for _ in range(20):
            lines, _ = self.playlist(hls)
            self.assertTrue(lines[-1].startswith("#EXT-X-PRELOAD-HINT:TYPE=PART"), lines[-1])
            try:
                with urllib.request.urlopen(urllib.parse.urljoin(hls, lines[-1].split('"')[1]),
                                            timeout=programs.SECONDS) as answer:
                    self.assertEqual(answer.headers["Content-Type"], "video/mp2t")
                    return lines, answer.read()
            except urllib.error.HTTPError as error:
                self.assertIn(error.code, (404, 503))
                error.close()
        self.fail("no part came")

    def number(self, lines):
        """Of the segment that grows."""
        first, = (line for line in lines if line.startswith("#EXT-X-MEDIA-SEQUENCE:"))
        return int(first.split(":")[1]) + sum(line.startswith("#EXTINF") for line in lines)

    def parts(self, hls):
        """The same broadcast in parts: the one that comes next can be asked for before it is
        there, and the playlist is told to wait until it names more."""
        lines, data = self.part(hls)
        self.assertTrue(any(line.startswith("#EXT-X-PART-INF:PART-TARGET=0.34") for line in lines))
        for line in lines:
            if line.startswith("#EXT-X-PART:"):
                self.assertLessEqual(float(line.split("=")[1].split(",")[0]), 0.34)
        self.assertEqual({data[i] for i in range(0, len(data), 188)}, {0x47})
        shown = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
                                "packet=flags", "-of", "csv=p=0", "-"], input=data,
                               capture_output=True, check=True).stdout.split()
        self.assertIn(len(shown), range(1, 10))
        number = self.number(lines) + 1
        for _ in range(20):
            try:
                lines, _ = self.playlist(f"{hls}&_HLS_msn={number}&_HLS_part=0")
                break
            except urllib.error.HTTPError as error:
                self.assertEqual(error.code, 503)
                error.close()
        self.assertGreaterEqual(self.number(lines), number)

    def numbered(self, url):
        """Segments by their number, as another parser reads them, each with its date; and how
        many were skipped. (Its own dates count parts twice.)"""
        with urllib.request.urlopen(url, timeout=120) as answer:
            read = m3u8.loads(answer.read().decode())
        skipped = read.skip.skipped_segments if read.skip else 0
        rows, date = {}, None
        for i, segment in enumerate(s for s in read.segments if s.uri):
            date = segment.program_date_time or date
            rows[read.media_sequence + skipped + i] = (segment.uri, date)
            date += datetime.timedelta(seconds=segment.duration)
        return rows, skipped

    def updates(self, hls):
        """Each segment has a date, of about now; who has a list is told the end of it alone,
        and that is the end of the whole."""
        now = datetime.datetime.now(datetime.timezone.utc)
        whole, skipped = self.numbered(hls)
        self.assertEqual(skipped, 0)
        dates = [date for _, date in whole.values()]
        self.assertEqual(dates, sorted(dates))
        self.assertLess(abs(dates[-1] - now), datetime.timedelta(minutes=5))
        number = max(whole)
        for _ in range(60):  # one more each time, until some are old enough
            try:
                rest, skipped = self.numbered(f"{hls}&_HLS_skip=YES&_HLS_msn={number}")
            except urllib.error.HTTPError as error:
                self.assertEqual(error.code, 503)  # it stands still on a machine that does
                error.close()
                continue
            if skipped:
                break
            number = max(rest) + 1
        self.assertGreater(skipped, 0)
        again, _ = self.numbered(hls)
        self.assertLess(min(again), min(rest))
        for number, (name, date) in rest.items():
            if number in again:
                self.assertEqual(name, again[number][0])
                self.assertLess(abs(date - again[number][1]), datetime.timedelta(seconds=0.2))

    def few_relays(self, name):
        """Five, and paths that work: doctor calls that weak, not bad."""
        _, out, _ = programs.run("doctor", "--state", self.folder / name, "--json")
        found = {row["check"]: row for row in json.loads(out)}
        self.assertEqual(found["relays"]["result"], "weak", out)
        self.assertIn("paths are built", found["relays"]["text"])

    def test_a_camera_is_watched_by_two(self):
        pipe, uri = self.broadcast()
        ffmpeg = camera(pipe)
        self.addCleanup(ffmpeg.wait)
        self.addCleanup(ffmpeg.kill)
        os.close(pipe)
        viewer = self.village.start("play", "viewer", "--no-player", uri)
        links = viewer.wait_for("link")
        link, hls = links["url"], links["hls"]
        self.assertEqual(len(viewer.wait_for("peer_up", 120)["path"]), 3)
        viewer.wait_for("tuned", 120)
        with urllib.request.urlopen(link, timeout=programs.SECONDS) as answer:
            self.assertEqual(answer.headers["Content-Type"], "video/mp2t")
            self.assertIsNone(answer.headers["Content-Length"])
            head = answer.read(188 * 3)
            self.assertEqual([head[0], head[188], head[376]], [0x47] * 3)
        # Nobody was looked for in vain before there were relays to ask.
        said = [event["event"] for event in viewer.events]
        self.assertNotIn("nobody", said[:said.index("client_ready")])
        self.few_relays("viewer")
        self.frames(link, 50)
        self.segments(hls)
        self.parts(hls)
        self.updates(hls)
        out = self.folder / "kept.ts"
        keeper = self.village.start("get", "keeper", "-o", out, uri)
        keeper.wait_for("tuned", 120)
        self.frames(link, 50)  # a second player at the first viewer
        ffmpeg.send_signal(signal.SIGTERM)
        keeper.wait_for("complete", 120)
        self.assertEqual(keeper.process.wait(programs.SECONDS), 0)
        viewer.wait_for("complete", 120)
        self.frames(str(out), 25)
        # What is over still ends for a player, instead of keeping it waiting.
        with urllib.request.urlopen(link, timeout=programs.SECONDS) as answer:
            self.assertGreater(len(answer.read()), 0)
        lines, names = self.playlist(hls)
        self.assertEqual(lines[-1], "#EXT-X-ENDLIST")
        # Nobody gets in without the token, or gets what is not in the stream.
        segment = urllib.parse.urljoin(hls, names[-1])
        rows = [(link.replace("k=", "k=0"), 403), (hls.replace("k=", "k=0"), 403),
                (segment.replace("k=", "k=0"), 403), (segment.replace(".ts", "0000.ts"), 404),
                (segment.replace(".ts", ".mp4"), 404),
                (hls.replace("hls.m3u8", "p1.ts"), 404),
                (hls.replace("hls.m3u8", "p1.ts").replace("k=", "k=0"), 403),
                (hls + "&_HLS_msn=1&_HLS_part=x", 400), (hls + "&_HLS_part=1", 400),
                (hls + "&_HLS_msn=99999999999999999999", 400)]
        for url, status in rows:
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, timeout=programs.SECONDS)
            self.assertEqual(refused.exception.code, status, url)

    def kept(self, name, data):
        """A broadcast of this from beginning to end, kept in a file: the command, which goes on
        sharing that, its link and the recording's."""
        read, write = os.pipe()
        program = programs.Program("live", *self.village.options("source"), "--name", name,
                                   "--record", self.folder / name, "-", stdin=read)
        os.close(read)
        self.running.append(program)
        uri = program.wait_for("live", 120)["uri"]
        with os.fdopen(write, "wb") as pipe:
            pipe.write(data)
        return program, uri, program.wait_for("recorded", 120)["uri"]

    def signed(self, link, octets):
        """Names and lengths of a list that the channel of this link signed (tunnel.md)."""
        self.assertEqual(len(octets), 860)
        x = urllib.parse.parse_qs(link.split("?", 1)[1])["x"][0].upper()
        about = base64.b32decode(x + "=" * (-len(x) % 8))
        network, swarm = about[2:10], about[17:]
        version, _, count = struct.unpack_from("<BQB", octets)
        at, rows = 10, []
        for _ in range(count):
            _, length, size, hash_name, addressing, flags = struct.unpack_from("<QQIBBB", octets, at)
            self.assertEqual((size, hash_name, addressing, flags), (1024, 2, 2, 0))
            at += 23 + 32
            rows.append((octets[at + 1:at + 1 + octets[at]].decode(), length))
            at += 1 + octets[at]
        self.assertEqual((version, swarm[0], len(swarm)), (1, 15, 33))
        VerifyKey(swarm[1:]).verify(
            b"culvert recordings 1" + network + struct.pack("<H", len(swarm)) + swarm + octets[:at],
            octets[at:at + 64])
        self.assertFalse(octets[at + 64:].strip(b"\0"))
        return rows

    def test_a_channel_names_its_recordings(self):
        """Whoever has nothing but the channel's link finds what it broadcast last, while it is
        silent, when it broadcasts again, and from a copy that is shared without its key."""
        first, second = os.urandom(300_000), os.urandom(400_000)
        source, channel, one = self.kept("one.ts", first)
        source.wait_for("pointed", 120)
        viewer = self.village.start("get", "viewer", "--recorded", "-o", self.folder / "got", channel)
        told = viewer.wait_for("recordings", 120)["recordings"]
        self.assertEqual([(r["name"], r["length"]) for r in told], [("one.ts", len(first))])
        self.assertEqual(told[0]["uri"].split("&")[0], one.split("&")[0])
        viewer.wait_for("complete", 120)
        self.assertEqual(viewer.process.wait(programs.SECONDS), 0)
        self.assertEqual((self.folder / "got").read_bytes(), first)
        source.end(signal.SIGTERM)

        source, again, two = self.kept("two.ts", second)
        self.assertEqual(again.split("&")[0], channel.split("&")[0])
        source.wait_for("pointed", 120)
        source.end(signal.SIGTERM)

        # What is kept of them, read by somebody else.
        kept, = (self.folder / "source").glob("recordings-*")
        link, octets = kept.read_bytes().split(b"\n", 1)
        self.assertEqual(link.decode().split("&")[0], channel.split("&")[0])
        self.assertEqual(self.signed(link.decode(), octets), [("two.ts", len(second)),
                                                              ("one.ts", len(first))])

        # Its key is gone: a recording from the same folder still leads to all of them.
        key = self.folder / "channel.pem"
        (self.folder / "source" / "live-ed25519.pem").rename(key)
        sharer = self.village.start("share", "source", self.folder / "two.ts")
        sharer.wait_for("pointed", 120)
        player = self.village.start("play", "player", "--no-player", "--recorded", channel)
        told = player.wait_for("recordings", 120)["recordings"]
        self.assertEqual([r["name"] for r in told], ["two.ts", "one.ts"])
        self.assertEqual(told[0]["uri"].split("&")[0], two.split("&")[0])
        with urllib.request.urlopen(player.wait_for("link", 60)["url"], timeout=120) as answer:
            self.assertEqual(answer.read(), second)
        self.taken_out(channel, key, kept, len(second))

        rows = [(["--recorded", one], "only a channel"),
                (["--recorded", "-o", "-", channel], "kept as a file")]
        for more, text in rows:
            status, _, err = programs.run("get", *self.village.options("bad"), *more)
            self.assertEqual(status, 2, err)
            self.assertIn(text, err)

    def taken_out(self, channel, key, kept, length):
        """One of two recordings: only by who has the channel's key; the node that shares the
        other one says the new list, and who opens the link then hears of no other."""
        other = self.folder / "other.pem"
        other.write_text("-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(
            bytes.fromhex("302e020100300506032b657004220420") + os.urandom(32)).decode() +
            "\n-----END PRIVATE KEY-----\n")
        other.chmod(0o600)
        before = kept.read_bytes()
        rows = [(["--recording", "none.ts"], 5, "named are: two.ts ("),
                (["--recording", "one.ts"], 5, "name its file with --key"),
                (["--recording", "--key", other, "one.ts"], 5, "of another channel"),
                (["--recording", "--purge", "--yes", "one.ts"], 2, "after the other"),
                (["--key", key, "one.ts"], 2, "goes with --recording")]
        for more, status, text in rows:
            done = programs.run("rm", "--state", self.folder / "source", "--json", *more)
            self.assertEqual(done[0], status, done)
            self.assertIn(text, done[2])
        self.assertEqual(kept.read_bytes(), before)
        status, out, err = programs.run("rm", "--state", self.folder / "source", "--json",
                                        "--recording", "--key", key, "one.ts")
        self.assertEqual(status, 0, err)
        said = json.loads(out)
        self.assertEqual((said["event"], said["name"], said["left"], said["said"]),
                         ("unlisted", "one.ts", 1, True))
        link, octets = kept.read_bytes().split(b"\n", 1)
        self.assertEqual(self.signed(link.decode(), octets), [("two.ts", length)])
        issued = [struct.unpack_from("<Q", o, 1)[0] for o in (before.split(b"\n", 1)[1], octets)]
        self.assertGreater(issued[1], issued[0])

        viewer = self.village.start("get", "later", "-o", self.folder / "later.ts", channel)
        for count in range(1, 8):  # the old list may stand there for a moment
            viewer.wait_for("recordings", 120, count)
            lists = [e["recordings"] for e in viewer.events if e["event"] == "recordings"]
            if [r["name"] for r in lists[-1]] == ["two.ts"]:
                return
        self.fail(f"still named: {lists[-1]}")

    def test_bad_input(self):
        _, uri = self.broadcast()
        rows = [
            (["play", *self.village.options("a"), "-o", self.folder / "x", uri], "leave out -o"),
            (["get", *self.village.options("b"), uri], "-o FILE"),
            (["get", *self.village.options("c"), "--at", "00" * 32, "-o", "-", uri], "--at"),
        ]
        for command, text in rows:
            status, _, err = programs.run(*command)
            self.assertEqual(status, 2, err)
            self.assertIn(text, err)


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
