#!/usr/bin/env python3
"""The limit of what play leaves in the state folder."""
import json
import signal
import unittest

import programs


class Cache(programs.Case):
    FILM = 1_500_000

    def setUp(self):
        super().setUp()
        self.films = [self.film(self.FILM + i, f"film-{i}") for i in range(3)]
        seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                            *self.films)
        seeder.wait_for("shared", count=3)
        said = [event for event in seeder.events if event["event"] == "shared"]
        self.address = said[0]["address"]
        self.links = {f"film-{i}": next(e["uri"] for e in said if f"n=film-{i}&" in e["uri"])
                      for i in range(3)}

    def contents(self):
        return sorted(path.name for path in (self.folder / "v").glob("content-*"))

    def player(self, name, *more):
        return self.start("play", "--no-player", "--direct", "--peer", self.address,
                          *programs.options(self.folder, "v"), *more, self.links[name])

    def play(self, name, *more):
        """To its end, and what was evicted meanwhile or right after."""
        player = self.player(name, *more)
        player.wait_for("complete")
        player.process.send_signal(signal.SIGINT)
        out, err = player.process.communicate(timeout=programs.SECONDS)
        self.assertEqual(player.process.returncode, 0, err)
        player.events += [json.loads(line) for line in (player.buffer + out).splitlines()]
        return [event for event in player.events if event["event"] == "evicted"]

    def test_the_least_recently_watched_goes_and_says_so(self):
        room = ["--cache-limit", "4M"]  # for two films
        self.assertEqual(self.play("film-0", *room), [])
        zero = self.contents()
        self.assertEqual(self.play("film-1", *room), [])
        one = [name for name in self.contents() if name not in zero]
        self.assertEqual(self.play("film-0", *room), [])  # again: film-1 is the older now
        evicted = self.play("film-2", *room)
        self.assertEqual([event["content"] for event in evicted], one)
        self.assertGreaterEqual(evicted[0]["octets"], self.FILM)
        self.assertEqual(len(self.contents()), 2)
        self.assertIn(zero[0], self.contents())

    def test_what_is_played_stays_and_what_was_got_stays(self):
        out = self.folder / "copy"
        status, _, err = programs.run("get", "--direct", "--peer", self.address,
                                      *programs.options(self.folder, "v"), "-o", out,
                                      self.links["film-0"])
        self.assertEqual(status, 0, err)
        player = self.player("film-1", "--cache-limit", "1M")
        player.wait_for("complete")
        over = player.wait_for("cache_over")
        self.assertGreater(over["used"], over["limit"])
        status, text, err = programs.run("status", "--state", self.folder / "v", "--json")
        self.assertEqual(status, 0, err)
        cache = json.loads(text)["cache"]
        self.assertEqual(cache["limit"], 1 << 20)
        self.assertGreaterEqual(cache["used"], self.FILM)
        self.assertEqual((cache["contents"], cache["open"]), (1, cache["used"]))
        status, text, err = programs.run("status", "--state", self.folder / "v")
        self.assertIn("of 1 MiB used, 1 content\n", text)
        player.end()
        self.assertEqual(len(self.contents()), 1)  # the marks of what was got
        self.assertEqual(out.read_bytes(), self.films[0].read_bytes())

    def test_got_from_the_cache(self):
        self.play("film-0")
        out = self.folder / "copy"
        get = self.start("get", "--direct", "--peer", "127.0.0.1:9",  # nobody
                         *programs.options(self.folder, "v"), "-o", out, self.links["film-0"])
        get.wait_for("complete")
        self.assertEqual(out.read_bytes(), self.films[0].read_bytes())


if __name__ == "__main__":
    programs.main()
