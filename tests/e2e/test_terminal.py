#!/usr/bin/env python3
"""What people see on a terminal: one line that says honestly how fetching goes, at any
width; and ls, show and rm, which name what is kept and never touch a file of the user's."""
import json
import re
import time
import unicodedata
import unittest

import programs
from terminal import Terminal

NAME = "ein Film über Möwen 海.bin"


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Fetching(programs.Case):
    def setUp(self):
        super().setUp()
        film = self.film(2_400_000, NAME)
        shares = [self.start("share", "--direct", *programs.options(self.folder, name),
                             "--upload-limit", "200k", film) for name in ("s", "t")]
        self.shared, self.other = (share.wait_for("shared") for share in shares)

    def get(self, name, width, **env):
        """On a terminal, to its end: the lines it drew, one after the other."""
        args = [a for a in programs.options(self.folder, name) if a != "--json"]
        terminal = Terminal("get", "--direct", "--peer", self.shared["address"], "--peer",
                            self.other["address"], *args, "-o",
                            self.folder / ("copy" + name), self.shared["uri"], columns=width, **env)
        terminal.wait_for("Complete and verified")
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn("Nobody", terminal.text)
        drawn = terminal.raw.decode().split("\r\x1b[K")[1:]
        return terminal, [line.split("\r\n")[0] for line in drawn]

    def look_at(self, lines, width):
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        before = -1.0
        self.assertGreaterEqual(len(plain), 3)
        for line in plain:
            self.assertLess(columns(line), width, line)
            shown = re.match(r"(?:\[([=+.-]+)\]  )?(\d+(?:\.\d)?) %", line)
            self.assertTrue(shown, line)
            percent = float(shown[2])
            self.assertGreaterEqual(percent, before, plain)  # never less than before
            before = percent
            if shown[1]:
                whole = 100 * shown[1].count("=") / len(shown[1])
                self.assertLessEqual(whole, percent + 0.1, line)  # no more than verified
                self.assertLess(percent, 100)
                self.assertRegex(line, r" \d+ k?B/s")
        return plain

    def test_80_columns(self):
        terminal, lines = self.get("wide", 80)
        plain = self.look_at(lines, 80)
        self.assertIn("\x1b[32m", terminal.raw.decode())
        self.assertTrue(any("DIRECT  2 peers" in line for line in plain), plain)
        self.assertEqual(terminal.text.count("Connected DIRECTLY"), 1, terminal.text)
        self.assertNotIn("are here already", terminal.text)  # nothing is
        self.assertTrue(any(" s left" in line for line in plain), plain)
        self.assertTrue(any("+" in line for line in plain), plain)  # something was asked for

    def test_40_columns_without_colour(self):
        terminal, lines = self.get("narrow", 40, NO_COLOR="1")
        self.look_at(lines, 40)
        self.assertNotRegex(terminal.raw.decode(), r"\x1b\[[0-9;]*m")

    def test_for_programs(self):
        get = self.start("get", "--direct", "--peer", self.shared["address"],
                         *programs.options(self.folder, "p"), "-o", self.folder / "copyp",
                         self.shared["uri"])
        get.wait_for("complete")
        lines = [event for event in get.events if event["event"] == "progress"]
        with_map = [line for line in lines if "map" in line]
        self.assertTrue(with_map)
        for line in with_map:
            self.assertRegex(line["map"], r"^[=+.-]{48}$")
            self.assertTrue(line["direct"])
            self.assertNotIn("say", line)
        self.assertTrue(any("eta" in line for line in lines))


class Kept(programs.Case):
    def setUp(self):
        super().setUp()
        self.films = [self.film(1_000_000, NAME), self.film(300_000, "b.bin"),
                      self.film(200_000, "c.bin")]
        self.share = self.start("share", "--direct", *programs.options(self.folder, "s"),
                                *self.films)
        self.share.wait_for("shared", count=3)
        said = [event for event in self.share.events if event["event"] == "shared"]
        self.address = said[0]["address"]
        self.uris = [next(e["uri"] for e in said if e["uri"].find(f"l={film.stat().st_size}&") > 0)
                     for film in self.films]

    def ls(self, name):
        status, out, err = programs.run("ls", "--json", "--state", self.folder / name)
        self.assertEqual((status, err), (0, ""))
        return {row["name"]: row for row in map(json.loads, out.splitlines())}

    def rm(self, name, what, *more):
        status, out, err = programs.run("rm", "--json", "--state", self.folder / name, *more, what)
        return status, [json.loads(line) for line in out.splitlines()], err

    def get(self, i, *more):
        status, _, err = programs.run("get", "--direct", "--peer", self.address,
                                      *programs.options(self.folder, "v"), *more, self.uris[i])
        self.assertEqual(status, 0, err)

    def play(self, i):
        play = self.start("play", "--no-player", "--direct", "--peer", self.address,
                          *programs.options(self.folder, "v"), self.uris[i])
        play.wait_for("complete")
        return play

    def test_what_is_shared_and_stopped(self):
        rows = self.ls("s")
        self.assertEqual(set(rows), {film.name for film in self.films})
        for film in self.films:
            row = rows[film.name]
            self.assertEqual((row["kept"], row["now"], row["complete"], row["path"]),
                             ("shared", "sharing", True, str(film)))
        # One of several is stopped, the others go on; asked for again it is not there.
        status, said, err = self.rm("s", "b.bin")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual((said[0]["stopped"], said[0]["freed"]), (1, 0))
        self.share.wait_for("stopped")
        self.assertEqual([self.ls("s")[n]["now"] for n in ("b.bin", "c.bin")], ["", "sharing"])
        self.get(2, "-o", self.folder / "c")
        status, said, err = self.rm("s", "b.bin")
        self.assertEqual(status, 1)
        self.assertIn("--purge frees what is kept of it", err)
        # Freed: its hashes go, the file itself stays.
        status, said, err = self.rm("s", rows["b.bin"]["swarm"][:6], "--purge", "--yes")
        self.assertEqual(status, 0, err)
        self.assertGreater(said[0]["freed"], 0)
        self.assertNotIn("b.bin", self.ls("s"))
        self.assertEqual(self.films[1].stat().st_size, 300_000)
        self.assertIsNone(self.share.process.poll())

    def test_what_was_fetched_and_watched(self):
        self.play(0).end()
        copy = self.folder / "copy of b"
        self.get(1, "-o", copy)
        rows = self.ls("v")
        self.assertEqual({row["kept"]: row["name"] for row in rows.values()},
                         {"cache": NAME, "file": "b.bin"})
        self.assertEqual(rows["b.bin"]["path"], str(copy))
        for row, octets in ((rows[NAME], 1_000_000), (rows["b.bin"], 300_000)):
            self.assertEqual((row["length"], row["have"], row["complete"], row["now"]),
                             (octets, octets, True, ""))
            self.assertGreater(row["watched"], 1_600_000_000)
        self.assertGreaterEqual(rows[NAME]["disk"], 1_000_000)
        for what in (NAME, rows[NAME]["swarm"], self.uris[0], rows[NAME]["folder"]):
            status, out, err = programs.run("show", "--state", self.folder / "v", what)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("1.0 MB of 1.0 MB (100 %)", out)
            self.assertIn(self.uris[0], out)
        # A film is freed while it is played: the player's command ends, nothing is left.
        play = self.play(0)
        self.assertIn(self.ls("v")[NAME]["now"], ("open", "sharing"))
        status, said, err = self.rm("v", self.uris[0], "--purge", "--yes")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(said[0]["stopped"], 1)
        self.assertGreaterEqual(said[0]["freed"], 1_000_000)
        play.wait_for("stopped")
        self.assertEqual(play.end(0)[0], 0)
        self.assertEqual(list(self.ls("v")), ["b.bin"])
        status, said, err = self.rm("v", "b.bin", "--purge", "--yes")  # no node runs now
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.ls("v"), {})
        self.assertEqual(copy.read_bytes(), self.films[1].read_bytes())
        self.assertEqual(list((self.folder / "v").glob("content-*")), [])

    def test_bad_input(self):
        self.play(2).end()
        none = self.folder / "none"
        rows = [
            (["rm", "--state", self.folder / "v", "nothing"], 5,
             "nothing: nothing here is called so; 'culvert ls' shows what there is"),
            (["show", "--state", self.folder / "v", "nothing"], 5,
             "nothing: nothing here is called so; 'culvert ls' shows what there is"),
            (["rm", "--state", self.folder / "v", "--purge", "c.bin"], 2,
             "rm --purge cannot be undone: confirm it with --yes"),
            (["rm", "--state", none, "c.bin"], 5,
             "c.bin: nothing is kept here; name another folder with --state"),
            (["rm", "--state", self.folder / "v", "c.bin"], 1,
             "c.bin: nothing goes on with it; --purge frees what is kept of it"),
        ]
        for args, status, line in rows:
            with self.subTest(line):
                got, _, err = programs.run(*args)
                self.assertEqual((got, err), (status, f"culvert: {line}\n"))
        self.assertFalse(none.exists())
        self.assertEqual(programs.run("ls", "--state", none)[:2],
                         (0, "Nothing is kept, shared or watched here yet\n"))
        self.assertEqual(list(self.ls("v")), ["c.bin"])

    def test_a_name_that_means_two(self):
        copy = self.folder / "other" / "b.bin"
        copy.parent.mkdir()
        copy.write_bytes(b"another film of that name")
        share = self.start("share", "--direct", *programs.options(self.folder, "w"), copy,
                           self.films[1])
        share.wait_for("shared", count=2)
        status, _, err = self.rm("w", "b.bin")
        self.assertEqual(status, 2)
        self.assertRegex(err, r"^culvert: b\.bin: means 2 contents; say which by the id that ls "
                              r"shows: [0-9a-f]{16} [0-9a-f]{16}\n$")

    def test_the_table_and_the_question(self):
        self.play(0).end()
        for width, words in ((100, ("KEPT", "WATCHED", "cache", "Möwen 海.bin")),
                             (80, ("KEPT", "WATCHED", "cache", "Möwen 海")), (60, ("KEPT", "cache")),
                             (40, ("SIZE", "1.0 MB", "100 %"))):
            terminal = Terminal("ls", "--state", self.folder / "v", columns=width)
            terminal.wait_for("in the state folder")
            self.assertEqual(terminal.end(), 0)
            for line in terminal.raw.decode().split("\r\n"):
                self.assertLessEqual(columns(line), width, line)
            for word in words:
                self.assertIn(word, terminal.raw.decode())
        ask = ["rm", "--purge", "--state", self.folder / "v", NAME]
        for answer, status, kept in ((b"\n", 1, 1), (b"no\n", 1, 1), (b"y\n", 0, 0)):
            terminal = Terminal(*ask)
            terminal.wait_for("[y/N]")
            self.assertEqual(terminal.end(answer), status)
            self.assertEqual(len(self.ls("v")), kept)


class Players(programs.Case):
    """What play starts: nothing but programs that are there, with the link as an argument."""

    def setUp(self):
        super().setUp()
        self.shared = self.start("share", "--direct", *programs.options(self.folder, "s"),
                                 self.film(100_000, "film's $(name).bin")).wait_for("shared")

    def tool(self, name, end):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho \"$0 $*\" >>{self.folder}/started\n{end}\n")
        path.chmod(0o755)

    def play(self, *more, **env):
        (self.folder / "started").unlink(missing_ok=True)
        play = self.start("play", "--direct", "--peer", self.shared["address"],
                          *programs.options(self.folder, "v"), *more, self.shared["uri"],
                          env=dict({"PATH": str(self.folder / "bin"), "HOME": str(self.folder)},
                                   **env))
        return play, play.wait_for("link")["url"]

    def started(self):
        """The line that a tool wrote. It is waited for, not only its file: a shell makes that
        first."""
        path, line = self.folder / "started", ""
        limit = time.monotonic() + programs.SECONDS
        while not line.endswith("\n") and time.monotonic() < limit:
            time.sleep(0.05)
            line = path.read_text() if path.exists() else ""
        return line

    def test_the_first_that_is_there(self):
        self.tool("ffplay", "exit 0")
        self.tool("vlc", "exit 0")
        self.tool("xdg-open", "exit 0")
        play, link = self.play(DISPLAY=":0")
        self.assertEqual(self.started(), f"{self.folder}/bin/vlc {link}\n")
        self.assertEqual(play.end(0)[0], 0)  # its window was closed

    def test_the_browser(self):
        self.tool("xdg-open", "exit 0")
        for more, env in (([], {"DISPLAY": ":0"}), (["--player", "browser"], {})):
            play, link = self.play(*more, **env)
            page = re.escape(f"{self.folder}/bin/xdg-open {link.split('/s/')[0]}/")
            self.assertRegex(self.started(), f"^{page}#k=[0-9a-f]{{32}}&watch=culvert%3A\\S+\n$")
            play.wait_for("progress", count=2)  # it has ended, and play goes on
            self.assertIsNone(play.process.poll())
            self.assertEqual(play.end()[0], 0)

    def test_none(self):
        self.tool("xdg-open", "exit 0")  # without a desktop it would find nothing
        play, _ = self.play()
        play.wait_for("progress", count=2)
        self.assertIsNone(play.process.poll())
        status, err = play.end()
        self.assertEqual(status, 0)
        self.assertIn("culvert: no player found; open the link in one, or name one with --player",
                      err)
        self.assertFalse((self.folder / "started").exists())


if __name__ == "__main__":
    programs.main()
