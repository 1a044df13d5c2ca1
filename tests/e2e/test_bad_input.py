#!/usr/bin/env python3
"""Bad input: one clear line that says what, where and what to do, a documented
exit status, and nothing verified is lost. The whole line is compared."""
import os
import pathlib
import socket
import sqlite3
import subprocess
import time
import unittest

import programs


class BadInput(programs.Case):
    def setUp(self):
        super().setUp()
        self.path = self.film(300_000)
        self.uri = None

    def state(self, name="v"):
        return ["--state", str(self.folder / name), "--listen", "127.0.0.1:0", "--network", "e2e",
                "--json"]

    def link(self):
        seeder = self.start("share", "--direct", *self.state("s"), self.path)
        return seeder.wait_for("shared")

    def expect(self, status, line, *args):
        got, _, err = programs.run(*args)
        lines = [text for text in err.splitlines() if "--direct hides nothing" not in text]
        self.assertEqual((got, "\n".join(lines)), (status, f"culvert: {line}"))

    def test_files(self):
        empty, folder = self.folder / "empty", self.folder / "folder"
        empty.write_bytes(b"")
        folder.mkdir()
        missing = self.folder / "missing"
        rows = [
            (missing, f"{missing}: No such file or directory"),
            (empty, f"{empty}: is empty; there is nothing to share"),
            (folder, f"{folder}: holds no file; there is nothing to share"),
        ]
        for path, line in rows:
            with self.subTest(path=path.name):
                self.expect(5, line, "share", "--direct", *self.state("x"), path)

    def test_a_file_that_may_not_be_read(self):
        """Without what lets root read everything."""
        self.path.chmod(0)
        done = subprocess.run(
            ["setpriv", "--inh-caps=-dac_override,-dac_read_search",
             "--bounding-set=-dac_override,-dac_read_search", programs.CULVERT, "share", "--direct",
             *self.state("x"), self.path], capture_output=True, text=True, timeout=programs.SECONDS, check=False)
        self.assertEqual((done.returncode, done.stderr.splitlines()[-1:]),
                         (5, [f"culvert: {self.path}: Permission denied"]))

    def test_links(self):
        uri = self.link()["uri"]
        rows = [
            ("hello", "bad link: does not begin with culvert:?"),
            (uri[:-4], "bad link: cut short: its end is missing"),
            (uri[:40], "bad link: cut short: its end is missing"),
            (uri.replace("l=300000", "l=300001"),
             "bad link: altered or incomplete: its check does not match"),
            (uri.replace("film", "fi1m"),
             "bad link: altered or incomplete: its check does not match"),
        ]
        for text, line in rows:
            with self.subTest(text[:50]):
                self.expect(2, line, "get", *self.state(), text)
        self.expect(2, "the link belongs to another network than 'culvert'; name it with --network",
                    "get", "--state", self.folder / "v", uri)
        self.expect(2, "a direct swarm needs somebody to ask: --peer IP:PORT",
                    "get", "--direct", *self.state(), uri)

    def test_options(self):
        rows = [
            (["--listen", "localhost:1"], "listen 'localhost:1': is not IP:PORT (no host names: "
                                          "nothing here asks a resolver)"),
            (["--upload-limit", "fast"],
             "upload-limit 'fast': is not a size such as 500k, 4M or 1048576, or none"),
            (["--upload-limit", "nan"],
             "upload-limit 'nan': is not a size such as 500k, 4M or 1048576, or none"),
            (["--epoch", "5000000000"],
             "epoch '5000000000': is not a period such as 10s, 5m or 7d"),
            (["--epoch", "soon"], "epoch 'soon': is not a period such as 10s, 5m or 7d"),
        ]
        for more, line in rows:
            with self.subTest(more[0]):
                self.expect(2, line, "node", *more)
        self.expect(2, "there is no 'paly'; 'culvert --help' lists what there is", "paly")

    def test_a_relay_has_an_address(self):
        for listen in ("0.0.0.0:0", "[::]:0"):
            self.expect(2, "relay: --listen must name the public address others reach this relay "
                        "at; 0.0.0.0, one behind a router and one of documentation (198.51.100.7) are "
                        "none", "relay", "--private", "--state", self.folder / "v", "--network",
                        "e2e", "--listen", listen)

    def test_what_a_service_is_started_with(self):
        """A state folder, an address or a page that cannot be: what, where, and what to do."""
        free, file = self.folder / "free", self.folder / "file"
        locked, foreign = self.folder / "locked", self.folder / "foreign"
        file.touch()
        for path in (locked, foreign):
            path.mkdir(mode=0o700)
        (foreign / "identity").write_bytes(bytes(32))
        (foreign / "identity").chmod(0)
        locked.chmod(0o500)
        chown = ("let it belong to the user that runs this (chown), or choose another folder with "
                 "--state DIR")
        rows = [(3, f"{file}: Not a directory; choose another folder with --state DIR", file, []),
                (3, f"{locked}/lock: Permission denied; {chown}", locked, []),
                (3, f"{foreign}/identity: Permission denied; {chown}", foreign, []),
                (4, "192.0.2.1:9: not an address of this machine; 'ip address' lists those", free,
                 ["--own", "192.0.2.1:9"]),
                (2, "--http must be a loopback address, such as 127.0.0.1:8470; from elsewhere use "
                 "ssh -L 8470:127.0.0.1:8470", free, ["--http", "0.0.0.0:8470"])]
        for status, line, state, more in rows:
            with self.subTest(line):
                # Without what lets root do everything.
                done = subprocess.run(
                    ["setpriv", "--inh-caps=-dac_override,-dac_read_search",
                     "--bounding-set=-dac_override,-dac_read_search", programs.CULVERT, "relay", "--state",
                     state, "--network", "e2e", "--listen", "127.0.0.1:0", "--json", *more],
                    capture_output=True, text=True, timeout=programs.SECONDS, check=False)
                self.assertEqual((done.returncode, done.stderr), (status, f"culvert: {line}\n"))

    def test_without_a_player_the_link_stays(self):
        shared = self.link()
        viewer = self.start("play", "--player", "/nonexistent/player", "--direct", "--peer",
                            shared["address"], *self.state(), shared["uri"])
        viewer.wait_for("complete")
        time.sleep(2.5)
        self.assertIsNone(viewer.process.poll(), "ended though the link is of use")
        self.assertEqual(viewer.end()[0], 0)

    def test_a_name_of_a_stranger_is_shown_harmless(self):
        path = self.folder / os.fsdecode(b"\x1b[2J\xff.mp4")
        path.write_bytes(os.urandom(5000))
        seeder = self.start("share", "--direct", *self.state("s"), path)
        seeder.wait_for("shared")
        status, out, err = programs.run("status", "--state", self.folder / "s")
        self.assertEqual(status, 0, err)
        self.assertIn("_[2J_.mp4", out)
        self.assertNotIn("\x1b", out)

    def test_configuration(self):
        config = self.folder / "culvert.conf"
        config.write_text("[network]\nname = e2e\ncolour = blue\n")
        self.expect(2, f"{config}:3: unknown key 'network.colour'", "node", "--config", config)
        missing = self.folder / "nothing.conf"
        self.expect(2, f"{missing}: cannot be read; name another with --config", "node",
                    "--config", missing)

    def test_a_file_that_shrinks_while_it_is_shared(self):
        big = self.film(4_000_000, "big")
        seeder = self.start("share", "--direct", *self.state("s"), "--upload-limit", "400k", big)
        shared = seeder.wait_for("shared")
        copy = self.folder / "copy"
        viewer = self.start("get", "--direct", "--peer", shared["address"], *self.state(), "-o",
                            copy, shared["uri"])
        viewer.wait_for("first_chunk")
        whole = big.read_bytes()
        os.truncate(big, 100_000)
        status, err = seeder.end(0)
        self.running.remove(seeder)
        lines = [text for text in err.splitlines() if "--direct hides nothing" not in text]
        self.assertEqual((status, lines),
                         (5, [f"culvert: {big}: shorter than it was; share it again"]))
        self.assertIsNone(viewer.process.poll())
        viewer.end()
        # What was verified is the right film, and it goes on from there.
        big.write_bytes(whole)
        seeder = self.start("share", "--direct", *self.state("s"), big)
        shared = seeder.wait_for("shared")
        status, out, err = programs.run("get", "--direct", "--peer", shared["address"],
                                        *self.state(), "-o", copy, shared["uri"])
        self.assertEqual(status, 0, err)
        self.assertEqual(copy.read_bytes(), whole)

    def test_a_busy_port(self):
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        args = self.state()
        args[args.index("127.0.0.1:0")] = at
        self.addCleanup(taken.close)
        self.expect(4, f"{at}: another program uses this UDP port; stop it or choose another port",
                    "node", *args)

    def test_a_folder_held_by_another(self):
        node = self.start("node", *self.state())
        node.wait_for("listening")
        self.expect(3, f"{self.folder / 'v'}: in use by process {node.process.pid}; stop it or choose another "
                       "folder with --state DIR", "node", *self.state())

    def test_permissions(self):
        node = self.start("node", *self.state())
        node.wait_for("listening")
        node.end()
        key = self.folder / "v" / "identity"
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        key.chmod(0o644)
        self.expect(3, f"{key}: others may read it (mode 0644); run: chmod 600 {key}", "node", *self.state())

    def test_damaged_state(self):
        node = self.start("relay", *self.state(), "--epoch", "5s", "--epoch-minimum", "1k")
        node.wait_for("listening")
        time.sleep(0.2)
        node.end()
        folder = self.folder / "v"
        # What can be learned anew is learned anew.
        for name in ("dht", "upstream", "descriptor"):
            (folder / name).write_bytes(os.urandom(500))
            (folder / name).chmod(0o600)
        node = self.start("relay", *self.state(), "--epoch", "5s", "--epoch-minimum", "1k")
        node.wait_for("listening")
        self.assertEqual(node.end()[0], 0)
        # What cannot is never thrown away silently, nor are guards: each that is chosen is one more.
        guards = folder / "guards"
        moved = "or move it away to choose guards anew"
        for octets, line in [
                (b"CVG9" + bytes(60), f"written by another version of culvert; install that version, {moved}"),
                (os.urandom(500), f"damaged; restore it from a backup, {moved}"),
                (b"", f"damaged; restore it from a backup, {moved}")]:
            with self.subTest(octets[:4]):
                guards.write_bytes(octets)
                guards.chmod(0o600)
                self.expect(3, f"{guards}: {line}", "relay", *self.state())
        guards.unlink()
        ledger = folder / "ledger.db"
        db = sqlite3.connect(ledger)
        known, = db.execute("PRAGMA user_version").fetchone()
        db.execute("PRAGMA user_version = 99")
        db.commit()
        db.close()
        self.expect(3, f"{ledger}: written by a newer version of culvert (schema 99, this one knows up to {known}); "
                       "install that version or name another file", "relay", *self.state())
        ledger.write_bytes(b"no ledger at all" * 512)
        self.expect(3, f"{ledger}: not a database; name another file or move this one away",
                    "relay", *self.state())

    def test_nobody_answers(self):
        uri = self.link()["uri"]
        self.expect(4, "no bootstrap node answered (tried 1); check the connection, or name "
                    "another with --bootstrap IP:PORT", "get", *self.state(), "--bootstrap",
                    "127.9.9.9:9", "-o", self.folder / "copy", uri)

    def test_an_existing_file_is_not_overwritten(self):
        shared = self.link()
        other = self.film(1000, "mine")
        self.expect(5, f"{other}: exists already; choose another name or move it away", "get", "--direct",
                    "--peer", shared["address"], *self.state(), "-o", other, shared["uri"])
        self.assertEqual(other.stat().st_size, 1000)

    def test_killed_in_the_middle_it_goes_on(self):
        big = self.film(40_000_000, "big")
        seeder = self.start("share", "--direct", *self.state("s"), "--upload-limit", "20M", big)
        shared = seeder.wait_for("shared")
        copy = self.folder / "copy"
        args = ["get", "--direct", "--peer", shared["address"], *self.state(), "-o", copy,
                shared["uri"]]
        for _ in range(3):  # slowly, or a machine that stands still would let one come to its end
            viewer = programs.Program(*args, "--download-limit", "2M")
            viewer.wait_for("first_chunk")
            time.sleep(0.4)
            viewer.process.kill()
            viewer.process.communicate()
        got, _, err = programs.run(*args)
        self.assertEqual(got, 0, err)
        self.assertEqual(copy.read_bytes(), big.read_bytes())

    def test_a_full_disk_pauses(self):
        if os.geteuid() != 0:
            self.fail("needs root: a small file system is mounted")
        small = self.folder / "small"
        small.mkdir()
        pathlib.Path(self.folder / "v").mkdir(mode=0o700)
        os.system(f"mount -t tmpfs -o size=6m,mode=0700 none {small}")
        try:
            big = self.film(12_000_000, "big")
            seeder = self.start("share", "--direct", *self.state("s"), big)
            shared = seeder.wait_for("shared")
            viewer = self.start("get", "--direct", "--peer", shared["address"], *self.state(),
                                "-o", small / "copy", shared["uri"])
            self.assertEqual(viewer.wait_for("disk_full")["why"],
                             f"{small}/copy: No space left on device")
            os.system(f"mount -o remount,size=64m {small}")
            viewer.wait_for("complete")
            self.assertEqual((small / "copy").read_bytes(), big.read_bytes())
            viewer.end()
        finally:
            os.system(f"umount -l {small}")


if __name__ == "__main__":
    programs.main()
