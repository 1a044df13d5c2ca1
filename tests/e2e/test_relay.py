#!/usr/bin/env python3
"""What a volunteer asks of a relay: how much it carries, how it ends, and what it says;
and a swarm exit on loopback, by which a direct swarm is seen.

    test_relay.py CULVERT CULVERT-DHT
"""
import json
import os
import signal
import sys
import time

from nacl.signing import SigningKey

import programs
from village import Village


class Relay(programs.Case):
    def status(self, name, *how):
        status, out, err = programs.run("status", "--state", self.folder / name, *how)
        self.assertEqual((status, err), (0, ""))
        return json.loads(out) if how else out

    def test_bad_limits(self):
        rows = [("--data-cap", "500G"), ("--data-cap", "500G/year"), ("--data-cap", "0/day"),
                ("--data-cap", "x/day"), ("--data-cap", "/day"), ("--data-cap", "9" * 40 + "/day"),
                ("--data-cap", "0.5/day"), ("--data-cap", "1000000T/day")]
        for option, value in rows:
            with self.subTest(value):
                status, _, err = programs.run("relay", "--state", self.folder / "x", "--listen",
                                              "127.9.0.1:0", option, value)
                self.assertEqual((status, err), (2, f"culvert: data-cap '{value}': is not a size "
                                                    "and a period such as 500G/month or 5G/day\n"))
        for value in ("fast", "0.5", "0.0009k"):  # 0 would be no limit
            with self.subTest(value):
                status, _, err = programs.run("relay", "--state", self.folder / "x", "--listen",
                                              "127.9.0.1:0", "--bandwidth", value)
                self.assertEqual((status, err), (2, f"culvert: bandwidth '{value}': is not a size "
                                                    "such as 500k, 4M or 1048576\n"))

    def test_one_that_nobody_named_says_so(self):
        """It waits for others; they may wait for it as well."""
        relay = self.start("relay", *programs.options(self.folder, "first"))
        self.assertIn("--bootstrap IP:PORT", relay.wait_for("no_contacts")["text"])
        self.assertIsNone(relay.process.poll())

    def relay_of(self, pseudonym):
        """The number of the relay that paths name so."""
        for i in range(6):
            seed = (self.folder / f"relay{i}" / "identity").read_bytes()
            if SigningKey(seed).verify_key.encode().hex().startswith(pseudonym):
                return i
        self.fail(f"nobody is {pseudonym}")

    def test_ends_when_circuits_have(self):
        village = Village(self, DHT, relays=6)
        relays = self.running[:6]
        seeder = village.start("share", "seeder", "--upload-limit", "300k", self.film(60 << 20))
        uri = seeder.wait_for("shared")["uri"]
        viewer = village.start("get", "viewer", "-o", self.folder / "copy.bin", uri)
        path = [self.relay_of(hop) for hop in viewer.wait_for("peer_up")["path"]]
        viewer.wait_for("first_chunk")

        # Told once: nobody new, but what goes on goes on.
        patient = relays[path[1]]
        patient.process.send_signal(signal.SIGTERM)
        said = patient.wait_for("draining")
        self.assertGreaterEqual(said["circuits"], 1)
        self.assertEqual(said["seconds"], 30)
        self.assertTrue(self.status(f"relay{path[1]}", "--json")["draining"])
        self.assertIn("Carrying  nobody new", self.status(f"relay{path[1]}"))

        # Told twice: at once, whatever goes on.
        hasty = relays[path[0]]
        hasty.process.send_signal(signal.SIGTERM)
        hasty.wait_for("draining")
        hasty.process.send_signal(signal.SIGTERM)
        self.assertEqual(hasty.end(0)[0], 0)

        for program in (viewer, seeder):
            program.end()
        patient.wait_for("drained")
        self.assertEqual(patient.end(0)[0], 0)

    def test_owners_of_circuits_hear_that_it_ends(self):
        village = Village(self, DHT, relays=6)
        relays, trace = self.running[:6], self.folder / "trace"
        uri = village.start("share", "seeder", "--upload-limit", "300k",
                            self.film(60 << 20)).wait_for("shared")["uri"]
        viewer = village.start("get", "viewer", "--trace", trace, "-o", self.folder / "copy.bin", uri)
        viewer.wait_for("first_chunk")
        viewer.wait_for("peer_up", count=2)  # both its ways are there
        gone = self.shown("viewer", "path")[0][0]["path"][1]
        self.assertEqual(relays[self.relay_of(gone)].end()[0], 0)
        # The viewer finds other ways; however fast, why it left this one is written down.
        limit = time.monotonic() + programs.SECONDS
        while any(gone in row["path"] for row in self.shown("viewer", "path")[0]):
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.2)
        viewer.end()
        ends = [row["err"] for row in map(json.loads, trace.read_text().splitlines())
                if row["event"] == "circuit_down"]
        self.assertIn(-32, ends)  # ended there, not given up for silence

    def test_carries_no_more_than_its_cap(self):
        village = Village(self, DHT, relays=0)
        args = village.options("capped")
        relay = self.start("relay", *args, "--data-cap", "1k/month")
        used = relay.wait_for("data_cap_used")
        self.assertGreaterEqual(used["used"], used["cap"])
        self.assertEqual(used["cap"], 1024)
        cap = self.status("capped", "--json")["data_cap"]
        self.assertTrue(cap["spent"])
        self.assertGreater(cap["until"], time.time())
        self.assertIn("carrying nobody", self.status("capped"))
        self.assertRegex(self.status("capped"), r"\nRelays    \d+ known, 0 guards, 6 fewer than paths need\n")
        self.assertEqual(relay.end(signal.SIGTERM)[0], 0)
        again = self.start("relay", *args, "--data-cap", "1k/month")
        self.assertGreaterEqual(again.wait_for("data_cap_used")["used"], used["used"])
        again.end()
        other = self.start("relay", *args, "--data-cap", "1T/month")
        other.wait_for("listening")
        cap = self.status("capped", "--json")["data_cap"]
        self.assertEqual((cap["spent"], cap["cap"]), (False, 1 << 40))

    def test_a_cap_that_was_counted_by_a_clock_far_ahead(self):
        args = programs.options(self.folder, "capped") + ["--data-cap", "1T/month"]
        quota = self.folder / "capped" / "quota"
        self.start("relay", *args).wait_for("listening")
        self.end_all()
        # In a month of 2036, as a version wrote it that kept no other month beside it.
        quota.write_bytes(b"\1" + (2082758400).to_bytes(8, "little") + (5 << 20).to_bytes(8, "little"))
        for spent in (False, True):
            with self.subTest(spent):
                relay = self.start("relay", *args[:-1], "1M/month" if spent else "1T/month")
                if spent:  # it was told: said once, and written down
                    self.assertGreaterEqual(relay.wait_for("data_cap_used")["used"], 5 << 20)
                    self.assertNotIn("data_cap_clock", [e.get("event") for e in relay.events])
                else:
                    said = relay.wait_for("data_cap_clock")
                    self.assertEqual(said["counted"], 2082758400)
                    self.assertEqual(said["used"], 5 << 20)
                    self.assertLessEqual(said["now"], time.time())
                    relay.wait_for("listening")
                cap = self.status("capped", "--json")["data_cap"]
                self.assertEqual(cap["spent"], spent)
                self.assertGreaterEqual(cap["used"], 5 << 20)
                self.assertLess(cap["until"], time.time() + 32 * 86400)
                self.assertEqual(relay.end(signal.SIGTERM), (0, ""))

    def test_a_damaged_count_of_the_cap(self):
        """What was used is not known, and somebody may pay for it: nobody is carried before the
        next month, unless whoever runs the relay says what is left."""
        args = [*programs.options(self.folder, "capped"), "--data-cap", "1T/month"]
        quota = self.folder / "capped" / "quota"
        self.start("relay", *args).wait_for("listening")
        self.end_all()
        whole = quota.read_bytes()
        other = whole[:10] + bytes([whole[10] ^ 1]) + whole[11:]
        for name, octets in (("empty", b""), ("cut", whole[:-1]), ("zeros", bytes(len(whole))),
                             ("one bit", other), ("long", whole + bytes(5000))):
            with self.subTest(name):
                quota.write_bytes(octets)
                relay = self.start("relay", *args)
                text = relay.wait_for("data_cap_unknown")["text"]
                self.assertRegex(text, f"^{quota}: damaged: what was used of the data cap is not known, so "
                                       r"all of this month's counts as used, until \d{4}-\d\d-01 00:00 UTC; "
                                       "to carry others before, stop the relay, delete the file and start "
                                       "it with what is left as --data-cap$")
                relay.wait_for("data_cap_used")
                relay.wait_for("listening")
                self.assertTrue(self.status("capped", "--json")["draining"])
                self.assertIn("1.0 TiB of 1.0 TiB used", self.status("capped"))
                self.assertEqual(relay.end(signal.SIGTERM), (0, ""))
        # A restart forgets it as little; what the line says does what it says.
        relay = self.start("relay", *args)
        relay.wait_for("data_cap_used")
        relay.wait_for("listening")
        self.assertEqual(relay.end(signal.SIGTERM), (0, ""))
        self.assertNotIn("data_cap_unknown", [event["event"] for event in relay.events])
        quota.unlink()
        relay = self.start("relay", *args[:-1], "2G/month")
        relay.wait_for("listening")
        self.assertFalse(self.status("capped", "--json")["data_cap"]["spent"])
        self.assertEqual(relay.end(signal.SIGTERM), (0, ""))
        # What cannot be looked at is not written over.
        quota.unlink()
        quota.mkdir()
        self.assertEqual(programs.run("relay", *args)[::2],
                         (3, f"culvert: {quota}: not a plain file; move it away\n"))
        quota.rmdir()
        kept = self.folder / "kept"
        kept.write_bytes(whole)
        quota.symlink_to(kept)
        status, _, err = programs.run("relay", *args)
        self.assertEqual((status, quota.is_symlink()), (3, True), err)
        self.assertTrue(err.startswith(f"culvert: {quota}: "), err)

    def test_what_is_learned_anew(self):
        """Damaged files that keep no relay from starting are replaced, and it is said."""
        args = programs.options(self.folder, "relay")
        self.start("relay", *args).wait_for("listening")
        self.end_all()
        silent = (r"holds no keys of today that can be read \(damaged, or this relay came here by 'culvert "
                  r"identity import'\); as a day with two descriptors would be proof against it, it takes "
                  r"no new circuits until \d{4}-\d\d-\d\d 03:00 UTC")
        ring = (self.folder / "relay" / "descriptor").read_bytes()
        rows = [("dht", os.urandom(300), "damaged; the DHT is found anew, by --bootstrap or other contacts"),
                ("dht", b"", "damaged; the DHT is found anew, by --bootstrap or other contacts"),
                ("descriptor", ring[:60] + bytes([ring[60] ^ 1]) + ring[61:], silent),
                ("descriptor", bytes(1), silent)]
        for name, octets, what in rows:
            with self.subTest(what):
                path = self.folder / "relay" / name
                path.write_bytes(octets)
                relay = self.start("relay", *args)
                said = relay.wait_for("state_anew")
                relay.wait_for("listening")
                self.assertEqual(said["file"], name)
                self.assertRegex(said["text"], f"^{path}: {what}$")
                self.assertEqual(relay.end(signal.SIGTERM), (0, ""))
                # Once: it is written again. A ring is, when the clock has been right for ten minutes.
                relay = self.start("relay", *args)
                relay.wait_for("listening")
                self.assertEqual([event["file"] for event in relay.events if event["event"] == "state_anew"],
                                 ["descriptor"] if name == "descriptor" else [])
                self.assertEqual(relay.end(signal.SIGTERM), (0, ""))
        # From 21:00 on tomorrow's descriptor may be signed already.
        for hour, until in (("01:00", "2027-05-06"), ("20:59", "2027-05-06"), ("21:01", "2027-05-07")):
            with self.subTest(hour):
                state = self.folder / hour.replace(":", "")
                state.mkdir(mode=0o700)
                (state / "descriptor").write_bytes(bytes(1))
                env = {**programs.days_off(0), "FAKETIME": f"@2027-05-05 {hour}:00", "TZ": "UTC"}
                relay = self.start("relay", *programs.options(self.folder, state.name), env=env)
                self.assertIn(f" until {until} 03:00 UTC", relay.wait_for("state_anew")["text"])
                relay.wait_for("listening")
                self.assertEqual(relay.end(signal.SIGTERM), (0, ""))

    def test_carries_no_faster_than_its_bandwidth(self):
        limit = 200_000
        village = Village(self, DHT, relays=0)
        relays = [f"relay{i}" for i in range(6)]
        for program in [village.start("relay", name, "--bandwidth", "200000", "--data-cap", "50M/month")
                        for name in relays]:
            program.wait_for("relay_ready", 120)
        film = self.film(800_000)
        seeder = village.start("share", "seeder", "--upload-limit", "none", film)
        uri = seeder.wait_for("shared")["uri"]
        begin = time.monotonic()
        before = {name: self.status(name, "--json") for name in relays}
        viewer = village.start("get", "viewer", "-o", self.folder / "copy.bin", uri)
        viewer.wait_for("complete")
        after = {name: self.status(name, "--json") for name in relays}
        took = time.monotonic() - begin
        self.assertEqual((self.folder / "copy.bin").read_bytes(), film.read_bytes())
        for name in relays:
            cells = after[name]["cells_relayed"] - before[name]["cells_relayed"]
            self.assertLess(1232 * cells, 1.05 * limit * took + 50_000, name)
            self.assertEqual(after[name]["carrying"]["limit"], limit)
        self.assertGreater(max(after[name]["carrying"]["rate"] for name in relays), 0)
        self.assertRegex(self.status(relays[0]), r"\nCarries   [0-9.]+ .*/s of at most 195 KiB/s\n")

        # What it has used of its cap outlives kill -9, but for a thousandth.
        killed, used, saved = self.running[0], 1, 0
        quota, end = self.folder / relays[0] / "quota", time.monotonic() + programs.SECONDS
        while saved + 50_000 < used:
            self.assertLess(time.monotonic(), end)
            used = self.status(relays[0], "--json")["data_cap"]["used"]
            saved = int.from_bytes(quota.read_bytes()[9:17], "little") if quota.exists() else 0
            time.sleep(0.2)
        killed.process.kill()
        killed.process.wait()
        again = self.start("relay", *[str(a) for a in killed.process.args[2:]])
        again.wait_for("listening")
        self.assertGreater(self.status(relays[0], "--json")["data_cap"]["used"], used - 51_000)

    def test_a_used_cap_ends_circuits(self):
        village = Village(self, DHT, relays=0)
        relays = [f"relay{i}" for i in range(6)]
        for program in [village.start("relay", name, "--data-cap", "4M/month") for name in relays]:
            program.wait_for("relay_ready", 120)
        film = self.film(20 << 20)  # six times four million octets do not carry it
        seeder = village.start("share", "seeder", "--upload-limit", "none", film)
        uri = seeder.wait_for("shared")["uri"]
        viewer = village.start("get", "viewer", "-o", self.folder / "copy.bin", uri)
        viewer.wait_for("first_chunk")
        end, spent = time.monotonic() + programs.SECONDS, []
        while not spent:
            self.assertLess(time.monotonic(), end)
            said = {name: self.status(name, "--json") for name in relays}
            spent = [name for name in relays if said[name]["data_cap"]["spent"]]
        # Nobody else's circuit is there, and none comes, whoever tries.
        other = village.start("get", "other", "-o", self.folder / "other.bin", uri)
        time.sleep(3)
        for name in spent:
            later = self.status(name, "--json")
            self.assertEqual((later["hops_carried"], later["cells_relayed"]), (0, said[name]["cells_relayed"]), name)
        self.assertNotEqual((self.folder / "copy.bin").read_bytes(), film.read_bytes())
        self.assertTrue(all(p.process.poll() is None for p in (viewer, other)))

    def test_several_workers(self):
        for count in ("0", "17", "two", "-1", "1.5"):
            with self.subTest(count):
                status, _, err = programs.run("relay", "--state", self.folder / "x", "--listen",
                                              "127.9.0.1:0", "--workers", count)
                self.assertEqual((status, err), (2, f"culvert: workers '{count}': is not a number "
                                                    "from 1 to 16, or auto\n"))
        # Without a word: one fewer than the processors that it may use.
        have = os.sched_getaffinity(0)
        one = ("taskset", "-c", str(min(have)))
        for name, within, count in (("default", (), min(max(len(have) - 1, 1), 16)),
                                    ("pinned", one, 1)):
            with self.subTest(name):
                relay = self.start("relay", *programs.options(self.folder, name), within=within)
                relay.wait_for("listening")
                self.assertEqual(self.status(name, "--json")["workers"], count)
                relay.end()
        village = Village(self, DHT, relays=0)
        counts = [1, 2, 3, 2, 3, 2]
        relays = [village.start("relay", f"relay{i}", "--workers", str(count))
                  for i, count in enumerate(counts)]
        for relay in relays:
            relay.wait_for("relay_ready")
        for i, count in enumerate(counts):
            self.assertEqual(self.status(f"relay{i}", "--json")["workers"], count)
            threads = len(os.listdir(f"/proc/{relays[i].process.pid}/task"))
            self.assertGreaterEqual(threads, count)
        self.assertIn("Workers   3\n", self.status("relay2"))
        # The port is shared among them, and with nobody else.
        at = relays[2].wait_for("listening")["address"]
        status, _, err = programs.run("relay", "--state", self.folder / "y", "--listen", at,
                                      "--workers", "2")
        self.assertNotEqual(status, 0)
        self.assertIn("another program uses this UDP port", err)

        film = self.film(1 << 20)
        seeder = village.start("share", "seeder", film)
        uri = seeder.wait_for("shared")["uri"]
        viewers = [village.start("get", f"viewer{i}", "-o", self.folder / f"{i}.bin", uri)
                   for i in range(2)]
        for i, viewer in enumerate(viewers):
            viewer.wait_for("complete")
            self.assertEqual((self.folder / f"{i}.bin").read_bytes(), film.read_bytes())
        carried = sum(self.status(f"relay{i}", "--json")["cells_relayed"] for i in range(6))
        self.assertGreater(carried, 1024 * 5)  # each chunk went over a hidden path at least once
        for program in (*viewers, seeder, *relays):
            status, err = program.end(signal.SIGTERM)
            self.assertEqual((status, err), (0, ""))

    def test_a_direct_swarm_through_an_exit(self):
        village = Village(self, DHT, relays=5)
        village.start("relay", "exit", "--exit").wait_for("relay_ready")
        film = self.film(700000)
        seeder = village.start("share", "seeder", "--direct", film)
        shared = seeder.wait_for("shared")
        self.assertIn("&d=1", shared["uri"])
        rows = [("by-link", [shared["uri"]], film.stat().st_size),
                ("by-hash", ["--peer", shared["address"], shared["root_hash"]], 0)]
        for name, args, _ in rows:
            with self.subTest(name):
                copy = self.folder / f"{name}.bin"
                viewer = village.start("get", name, "-o", copy, *args)
                self.assertEqual(len(viewer.wait_for("peer_up")["path"]), 3)
                viewer.wait_for("complete")
                status, err = viewer.end()
                self.assertEqual(status, 0, err)
                self.assertNotIn("hides nothing", err)
                self.assertEqual(copy.read_bytes(), film.read_bytes())
        exit_ = self.status("exit", "--json")["exit"]
        self.assertGreater(exit_["octets_in"], 2 * 700000)
        self.assertGreaterEqual(exit_["opened"], 2)
        self.assertIn("Exit      ", self.status("exit"))
        self.assertNotIn("exit", self.status("relay0", "--json"))
        self.ways(village)

    def shown(self, name, verb):
        """Its rows, and the lines that a person reads; a way may just be made anew."""
        limit = time.monotonic() + programs.SECONDS
        while True:
            said = []
            for more in (["--json"], []):
                status, out, err = programs.run(verb, "--state", self.folder / name, *more)
                self.assertEqual(status, 0, err)
                said.append(out)
            rows, lines = json.loads(said[0]), said[1].splitlines()
            if rows and len(lines) == len(rows) + (verb == "peers") or time.monotonic() > limit:
                return rows, lines
            time.sleep(0.2)

    def ways(self, village):
        """By an exit, from a relay that shares openly, and by that relay of who visits it: all of
        it while the film is under way, which would take minutes."""
        film = self.film(3_000_000, "slow.bin")
        direct = village.start("share", "direct", "--direct", "--upload-limit", "10k", film)
        relay = village.start("relay", "open", "--open", film, "--upload-limit", "10k")
        shared = relay.wait_for("shared")
        rows = [("by-exit", [direct.wait_for("shared")["uri"]], "exit", "through the exit ",
                 ", which speaks to the peer for us"),
                ("by-open", ["--at", shared["relay"], shared["uri"]], "open", ", openly",
                 ", which shares it openly")]
        for name, args, kind, who, way in rows:
            viewer = village.start("get", name, "-o", self.folder / f"{name}.bin", *args)
            self.assertEqual(len(viewer.wait_for("peer_up")["path"]), 3)
            (row, *_), lines = self.shown(name, "peers")
            self.assertTrue(row["hidden"] and row[kind], row)
            self.assertEqual(row["open"] + row["exit"], 1)
            self.assertIn(who, lines[1])
            self.assertTrue(self.shown(name, "path")[1][0].endswith(way), way)
        (row, *_), lines = self.shown("open", "peers")
        self.assertEqual((row["open"], row["exit"], row["path"]), (True, False, []))
        self.assertTrue(lines[1].startswith("somebody hidden "), lines)
        self.assertIn("we, who share it openly <- ", self.shown("open", "path")[1][0])

    def test_a_link_that_no_cell_can_carry(self):
        seeder = self.start("share", "--direct", "--state", self.folder / "s", "--listen",
                            "127.0.0.1:0", "--json", "--chunk-size", "4k", self.film(9000))
        uri = seeder.wait_for("shared")["uri"]
        status, _, err = programs.run("get", "--state", self.folder / "v", uri)
        self.assertEqual(status, 2)
        self.assertEqual(err, "culvert: its chunks have 4096 octets, and a cell of a circuit carries "
                              "1024: it can be fetched with --direct only, which hides nothing\n")


if __name__ == "__main__":
    DHT = sys.argv.pop(2)
    programs.main()
