#!/usr/bin/env python3
"""A broadcast from a pipe, as a person makes one: a viewer gets what is said from
then on, the channel keeps its link over restarts, and what was recorded is shared
as a file with the root hash that the broadcast ended with."""
import os
import signal
import subprocess
import time
import unittest

import programs

CHUNK = 1024


class Source(programs.Case):
    """A broadcast from a pipe of ours."""

    def source(self, name, *more):
        """A broadcast whose standard input we write."""
        read, write = os.pipe()
        program = programs.Program("live", "--direct", *programs.options(self.folder, name),
                                   *more, "-", stdin=read)
        os.close(read)
        self.running.append(program)
        return program, os.fdopen(write, "wb", buffering=0)

    def say(self, pipe, octets, pieces):
        """Some of a film, in time for those who listen."""
        data = os.urandom(octets)
        for i in range(pieces):
            pipe.write(data[i * octets // pieces:(i + 1) * octets // pieces])
            time.sleep(0.1)
        return data

    def watched_of(self, viewer, got, said):
        """The octets of a broadcast that a viewer kept or says that it skipped, as it does on a machine
        that stands still for seconds: what it kept is what was said, in order and to the end."""
        at, missing = None, 0
        for i in range(0, len(got), CHUNK):
            part = got[i:i + CHUNK]
            found = said.find(part, at or 0)
            self.assertGreaterEqual(found, 0, f"what arrived at {i} is not what was said")
            missing += 0 if at is None else found - at
            at = found + len(part)
        self.assertEqual(at, len(said), "it ends before the end")
        told = sum(event["octets"] for event in viewer.said("dropped"))
        self.assertLessEqual(missing, told)
        return len(got) + told


class Live(Source):
    def watch(self, live, out):
        return self.start("get", "--direct", "--peer", live["address"], "-o", out,
                          *programs.options(self.folder, "viewer"), live["uri"])

    def watched(self, viewer):
        """To the end; it then leaves by itself, and a signal on its way out would kill it."""
        viewer.wait_for("complete")
        self.assertEqual(viewer.process.wait(programs.SECONDS), 0)

    def test_a_broadcast_is_watched_ends_and_becomes_a_file(self):
        record, out = self.folder / "record.ts", self.folder / "out.ts"
        program, pipe = self.source("source", "--record", record)
        live = program.wait_for("live")
        said = self.say(pipe, 64 * 1024, 2)
        viewer = self.watch(live, out)
        viewer.wait_for("tuned")
        said += self.say(pipe, 512 * 1024 + 77, 10)
        pipe.close()
        self.watched(viewer)
        self.assertGreaterEqual(self.watched_of(viewer, out.read_bytes(), said), 512 * 1024)
        ended, recorded = program.wait_for("ended"), program.wait_for("recorded")
        self.assertEqual(record.read_bytes(), said)
        self.assertEqual(recorded["root"], ended["root"])
        again = self.folder / "again.ts"
        other = self.start("get", "--direct", "--peer", live["address"], "-o", again,
                           *programs.options(self.folder, "other"), recorded["uri"])
        self.watched(other)
        self.assertEqual(again.read_bytes(), said)

    def test_a_fragmented_mp4_is_carried_as_it_is(self):
        """With another hash function, and chunks named by bins."""
        film = subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10",
             "-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-f", "mp4",
             "-movflags", "frag_keyframe+empty_moov+default_base_moof", "pipe:1"],
            check=True, capture_output=True).stdout
        record, out = self.folder / "record.mp4", self.folder / "out.mp4"
        program, pipe = self.source("fragments", "--record", record, "--hash", "sha512", "--addressing", "bin64")
        live = program.wait_for("live")
        viewer = self.watch(live, out)
        for i in range(0, len(film), 4096):
            pipe.write(film[i:i + 4096])
            time.sleep(0.05)
        pipe.close()
        self.watched(viewer)
        self.assertGreater(self.watched_of(viewer, out.read_bytes(), film), 0)
        recorded = program.wait_for("recorded")
        self.assertEqual(len(recorded["root"]), 2 * 64)
        self.assertEqual(recorded["root"], program.wait_for("ended")["root"])
        self.assertEqual(record.read_bytes(), film)
        seen = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of",
             "csv=p=0", record], check=True, capture_output=True, text=True).stdout
        self.assertEqual(seen.strip(), "40")

    def test_the_channel_keeps_its_link_and_goes_on_behind_what_it_said(self):
        key = self.folder / "channel.pem"
        first, pipe = self.source("source", "--key", key)
        live = first.wait_for("live")
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.say(pipe, 64 * 1024, 1)
        first.end(signal.SIGKILL)
        pipe.close()
        second, pipe = self.source("source", "--key", key)
        again = second.wait_for("live")
        self.assertEqual(again["uri"], live["uri"])
        out = self.folder / "out.ts"
        viewer = self.watch(again, out)
        said = self.say(pipe, 64 * 1024, 1)
        viewer.wait_for("tuned")
        said += self.say(pipe, 256 * 1024, 5)
        pipe.close()
        self.watched(viewer)
        self.assertGreaterEqual(self.watched_of(viewer, out.read_bytes(), said), 256 * 1024)

    def test_bad_input(self):
        folder = programs.options(self.folder, "bad")
        loose = self.folder / "loose.pem"
        loose.write_text("x")
        loose.chmod(0o644)
        rows = [
            (("live", "--direct", *folder, "--algorithm", "rot13", "-"), 2, "rot13"),
            (("live", "--direct", *folder, "--hash", "md5", "-"), 2, "md5"),
            (("live", "--direct", *folder, "--key", loose, "-"), 5, "chmod 600"),
            (("live", "--direct", *folder, "--window", "1k", "-"), 2, "window"),
            (("live", "--direct", *folder, self.folder / "none"), 5, "none"),
            (("live", "--direct", *folder, "srt://127.0.0.1:1"), 5, "rtmp://127.0.0.1:PORT"),
        ]
        for args, status, text in rows:
            with self.subTest(text):
                got, _, err = programs.run(*args)
                self.assertEqual(got, status, err)
                self.assertIn(text, err)


if __name__ == "__main__":
    programs.main()
