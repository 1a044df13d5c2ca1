#!/usr/bin/env python3
"""A running node does what share, get and play ask for, over its socket."""
import http.client
import json
import os
import pathlib
import shlex
import signal
import socket
import stat
import time
import unittest

import programs
import terminal


class Daemon(programs.Case):
    def node(self, name, *more):
        """A running node for direct swarms, and how to name it."""
        node = self.start("node", *programs.options(self.folder, name), "--direct", *more)
        node.wait_for("listening")
        return node, ["--state", str(self.folder / name), "--direct", "--json"]

    def status(self, name):
        status, out, err = programs.run("status", "--state", self.folder / name, "--json")
        self.assertEqual(status, 0, err)
        return json.loads(out)

    def swarms(self, name):
        return self.status(name)["swarms"]

    def eventually(self, what, want):
        limit = time.monotonic() + programs.SECONDS
        while what() != want and time.monotonic() < limit:
            time.sleep(0.1)
        self.assertEqual(what(), want)

    def lines(self, err):
        return [line for line in err.splitlines() if "hides nothing" not in line]

    def test_a_host_with_ipv6_only(self):
        """127.0.0.1 is there, too, where no network has IPv4."""
        network = ("ip link set lo up && ip -6 address add 2a10::1/64 dev lo nodad && "
                   "ip -6 route add default dev lo && exec \"$@\"")
        node = self.start("node", "--state", self.folder / "n", "--listen", "[2a10::1]:0",
                          "--network", "e2e", "--json", "--direct",
                          within=["unshare", "--net", "sh", "-c", network, "sh"])
        node.wait_for("page")
        self.assertTrue(self.page_of(self.folder / "n").startswith("http://127.0.0.1:"))

    def test_a_crash_leaves_no_image(self):
        """Of those who hold keys and know addresses, though the shell allows one."""
        here = self.folder / "here"
        here.mkdir()
        # A sanitizer would forbid it itself.
        env = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":disable_coredump=0")
        within = ("env", "-C", str(here), "prlimit", "--core=unlimited")
        film = self.film(1000)
        rows = (("node", "listening", "--direct"), ("relay", "listening"), ("share", "shared", "--direct", film))
        for verb, ready, *more in rows:
            with self.subTest(verb):
                program = self.start(verb, *programs.options(self.folder, verb), *more, env=env,
                                     within=within)
                program.wait_for(ready)
                limits = pathlib.Path(f"/proc/{program.process.pid}/limits").read_text(encoding="ascii")
                row = next(line for line in limits.splitlines() if line.startswith("Max core"))
                self.assertEqual(row.split()[-3:], ["1", "1", "bytes"])
                program.process.send_signal(signal.SIGQUIT)  # caught by nobody: dumps
                self.assertEqual(program.process.wait(programs.SECONDS), -signal.SIGQUIT)
                self.running.remove(program)
                program.process.communicate()
                self.assertEqual(os.listdir(here), [])

    def test_a_journal_holds_no_right(self):
        """What a service manager keeps names the command that prints the page's link, and that
        command finds the node, also in a shell with a runtime folder."""
        runtime, state = self.folder / "runtime", self.folder / "xdg"
        runtime.mkdir(mode=0o700)
        bare = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        bare["XDG_STATE_HOME"] = str(state)
        shell = {**bare, "XDG_RUNTIME_DIR": str(runtime)}
        rows = (("node", ["--state", self.folder / "n", "--direct"], shell, self.folder / "n"),
                ("relay", ["--state", self.folder / "r"], bare, self.folder / "r"),
                ("relay", [], bare, state / "culvert"), ("relay", [], shell, None))
        for verb, more, env, named in rows:
            with self.subTest([verb, *more]):
                program = self.start(verb, "--listen", "127.0.0.1:0", "--network", "e2e", *more, env=env)
                text = program.wait_for("page")["text"]
                words = shlex.split(text.removeprefix("its link is printed by: "))
                self.assertEqual(words, ["culvert", "status"] + (["--state", str(named)] if named else []))
                status, out, err = programs.run(*words[1:], "--json", env=shell)
                self.assertEqual(status, 0, err)
                link = json.loads(out)["page"]
                token = link.split("#t=")[1]
                said = json.dumps(program.events) + program.buffer.decode()
                status, err = program.end(signal.SIGTERM)
                self.assertEqual(status, 0, err)
                self.assertNotIn(token, said + err)
        # Who sits before it gets the link itself.
        for more in [], ["--json"]:
            with self.subTest(more):
                seen = terminal.Terminal("relay", "--state", self.folder / "r", "--listen",
                                         "127.0.0.1:0", "--network", "e2e", *more)
                seen.wait_for("#t=")
                self.assertEqual(seen.end(b"\3"), 0)

    def test_share_and_get(self):
        self.node("s")
        self.node("v")
        film = self.film(400_000)
        here = os.getcwd()
        os.chdir(self.folder)  # names are relative to the command, not to the node
        self.addCleanup(os.chdir, here)
        share = self.start("share", "--state", "s", "--direct", "--json", film.name)
        shared = share.wait_for("shared")
        self.assertEqual([s["name"] for s in self.swarms("s")], [film.name])
        status, out, err = programs.run("get", "--state", "v", "--direct", "--json", "--peer",
                                        shared["address"], "-o", "copy", shared["uri"])
        self.assertEqual(status, 0, err)
        events = [json.loads(line)["event"] for line in out.splitlines()]
        self.assertIn("peer_up", events)
        self.assertEqual(events[-1], "complete")
        self.assertEqual((self.folder / "copy").read_bytes(), film.read_bytes())
        for name in ("s", "v"):
            counted = self.status(name)["protocol"]["direct"]
            self.assertGreater(counted["datagrams_in"], 0)
            self.assertGreater(counted["datagrams_out"], 0)
            self.assertNotIn("drop_data_bad", counted)
        self.eventually(lambda: self.swarms("v"), [])
        # A swarm lives as long as the command that asked for it.
        self.assertEqual(share.end()[0], 0)
        self.eventually(lambda: self.swarms("s"), [])

    def test_play(self):
        self.node("s")
        _, v = self.node("v")
        film = self.film(200_000)
        shared = self.start("share", "--state", self.folder / "s", "--direct", "--json",
                            film).wait_for("shared")
        player = self.folder / "player"
        player.write_text(f"#!/bin/sh\necho \"$1\" >{self.folder}/asked\n"
                          f"/usr/bin/python3 -c 'import sys, urllib.request; sys.stdout.buffer."
                          f"write(urllib.request.urlopen(sys.argv[1]).read())' \"$1\" "
                          f">{self.folder}/played\n")
        player.chmod(0o755)
        status, out, err = programs.run("play", *v, "--peer", shared["address"], "--player", player,
                                        shared["uri"])
        self.assertEqual(status, 0, err)
        link = next(json.loads(text) for text in out.splitlines() if '"link"' in text)["url"]
        self.assertEqual((self.folder / "asked").read_text().strip(), link)
        self.assertEqual((self.folder / "played").read_bytes(), film.read_bytes())

    def passed_on(self, viewer, *more):
        """Somebody watches through a running node; the copy a second one gets of that, if any."""
        self.node(viewer)
        seeder = self.start("share", *programs.options(self.folder, viewer + "-s"), "--direct",
                            self.film(200_000, viewer + "-film"))
        shared = seeder.wait_for("shared")
        play = self.start("play", "--state", self.folder / viewer, "--direct", "--json",
                          "--no-player", *more, "--peer", shared["address"], shared["uri"])
        play.wait_for("complete")
        self.assertEqual(seeder.end()[0], 0)
        status, out, err = programs.run("status", "--state", self.folder / viewer, "--json")
        self.assertEqual(status, 0, err)
        return self.start("get", *programs.options(self.folder, viewer + "-w"), "--direct",
                          "--peer", json.loads(out)["sockets"]["direct"]["address"], "-o",
                          self.folder / (viewer + "-copy"), shared["uri"])

    def test_no_share_goes_with_the_command(self):
        self.passed_on("generous").wait_for("complete")
        with self.assertRaisesRegex(AssertionError, "no 'first_chunk'"):
            self.passed_on("mean", "--no-share").wait_for("first_chunk", seconds=3)

    def test_what_limits_what_is_shared(self):
        self.node("s")
        for limit in ("none", "0", "300k"):
            self.start("share", "--state", self.folder / "s", "--direct", "--json", "--upload-limit",
                       limit, self.film(1000, f"film-{limit}")).wait_for("shared")
        self.assertEqual(self.status("s")["upstream"], {"measured": 0, "limit": 0, "lifted": False})
        status, out, _ = programs.run("status", "--state", self.folder / "s")
        self.assertEqual(status, 0)
        self.assertIn("Upstream  not seen full so far: what is shared has no limit but --upload-limit\n",
                      out)

    def test_the_network_is_that_of_the_node(self):
        self.node("s")
        s = ["--state", self.folder / "s", "--direct", "--json"]
        status, _, err = programs.run("share", *s, "--network", "other", self.film(1000))
        self.assertEqual((status, self.lines(err)),
                         (2, ["culvert: the node on this folder is of another network; name another "
                              "folder with --state"]))
        self.assertEqual(self.swarms("s"), [])
        for more in ([], ["--network", "e2e"]):
            share = self.start("share", *s, *more, self.film(1000))
            share.wait_for("shared")
            self.assertEqual(share.end()[0], 0)

    def test_the_player_can_be_interrupted(self):
        self.node("s")
        _, v = self.node("v")
        shared = self.start("share", "--state", self.folder / "s", "--direct", "--json",
                            self.film(1000)).wait_for("shared")
        player, number = self.folder / "player", self.folder / "number"
        # Not a shell, which would unblock its signals by itself.
        player.write_text("#!/usr/bin/python3\nimport os, signal, time\n"
                          "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
                          f"with open('{number}.new', 'w') as f:\n"
                          "    f.write(str(os.getpid()))\n"
                          f"os.rename('{number}.new', '{number}')\ntime.sleep(1000)\n")
        player.chmod(0o755)
        play = self.start("play", *v, "--peer", shared["address"], "--player", player,
                          shared["uri"])
        play.wait_for("link")
        self.eventually(number.exists, True)
        own = int(number.read_text())
        os.kill(own, signal.SIGINT)  # with Ctrl-C the terminal sends it to both
        try:
            self.eventually(play.process.poll, 0)
        finally:
            self.gone(own)

    def gone(self, number):
        """Ends a player that a failed test left behind."""
        try:
            if bytes(self.folder) in pathlib.Path(f"/proc/{number}/cmdline").read_bytes():
                os.kill(number, signal.SIGKILL)
        except FileNotFoundError:
            pass

    def test_the_socket_of_another_user(self):
        """Who may write to the folder of the socket could otherwise name the program to start."""
        state = self.folder / "s"
        state.mkdir(mode=0o700)
        trap = socket.socket(socket.AF_UNIX)
        self.addCleanup(trap.close)
        trap.bind(str(state / "api.sock"))
        os.seteuid(65534)  # the kernel notes who listens; needs root
        try:
            trap.listen(16)
        finally:
            os.seteuid(0)
        trap.settimeout(0)
        args = ["share", "--state", state, "--direct", "--json", self.film(1000)]
        status, out, err = programs.run(*args)
        self.assertEqual((status, out, self.lines(err)), (3, "", [
            f"culvert: {state}/api.sock: another node listens there; stop it, or name a folder "
            "with --state"]))
        asked = 0
        while True:  # it called, to see who is there, and said nothing
            try:
                link, _ = trap.accept()
            except BlockingIOError:
                break
            with link:
                link.settimeout(programs.SECONDS)
                self.assertEqual(link.recv(1000), b"")
                asked += 1
        self.assertGreater(asked, 0)

    def test_a_slow_reader_misses_nothing(self):
        """Only progress may be left out for one who does not read."""
        files = 600
        films = [self.film(1, f"{i:04}".ljust(240)) for i in range(files)]
        self.node("s")
        ask = json.dumps({"verb": "share", "argument": str(films[0]),
                          "arguments": list(map(str, films)), "folder": "/", "options": {"direct": "yes"}}).encode()
        link = socket.socket(socket.AF_UNIX)
        self.addCleanup(link.close)
        link.connect(str(self.folder / "s" / "api.sock"))
        link.sendall(b"POST /api/tasks HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(ask) + ask)
        # Each shared file has a folder before its line is written; the last line may be late.
        self.eventually(lambda: len(list((self.folder / "s").glob("shared--*"))), files)
        link.settimeout(programs.SECONDS)
        text = b""
        while text.count(b'"shared"') < files:
            data = link.recv(1 << 20)
            self.assertTrue(data, text[-500:])
            text += data
        # It was more than sockets and the backlog for progress hold.
        self.assertGreater(len(text), 600_000)

    def test_what_goes_wrong(self):
        node, s = self.node("s")
        film = self.film(100_000)
        share = self.start("share", *s, film)
        uri = share.wait_for("shared")["uri"]
        rows = [
            (1, f"{film}: is open in this node already", ["share", *s, film]),
            (5, f"{self.folder}/none: No such file or directory",
             ["share", *s, self.folder / "none"]),
            (2, "bad link: cut short: its end is missing",
             ["get", *s, "--peer", "127.0.0.1:9", uri[:-1]]),
        ]
        for want, line, args in rows:
            with self.subTest(line):
                status, _, err = programs.run(*args)
                self.assertEqual((status, self.lines(err)), (want, [f"culvert: {line}"]))
        # What is named in the topmost folder is told to the node with one slash.
        status, _, err = programs.run("share", *s, "no-such-film", folder="/")
        self.assertEqual((status, self.lines(err)),
                         (5, ["culvert: /no-such-film: No such file or directory"]))
        self.assertEqual(len(self.swarms("s")), 1)
        self.assertEqual(node.end()[0], 0)
        status, err = share.end(0)
        self.assertEqual((status, self.lines(err)), (1, ["culvert: the node was stopped"]))
        self.running.remove(share)

    def test_a_node_that_dies(self):
        node, s = self.node("s")
        share = self.start("share", *s, self.film(100_000))
        share.wait_for("shared")
        node.end(signal.SIGKILL)
        status, err = share.end(0)
        self.assertEqual((status, self.lines(err)),
                         (1, ["culvert: the node that did this has ended"]))
        self.running.remove(share)
        # Its socket is left behind; the next command runs a node of its own.
        again = self.start("share", *programs.options(self.folder, "s"), "--direct",
                           self.film(1000, "other"))
        again.wait_for("shared")

    def test_a_node_that_cannot(self):
        self.start("relay", *programs.options(self.folder, "r")).wait_for("listening")
        film = self.film(1000)
        status, _, err = programs.run("share", "--state", self.folder / "r", film)
        self.assertEqual((status, self.lines(err)),
                         (3, ["culvert: the node on this folder is a relay and does nothing else; "
                              "name another folder with --state"]))

    def test_its_limits_hold_for_those_who_name_none(self):
        self.node("s")
        _, v = self.node("v", "--download-limit", "200k")
        film = self.film(800_000)
        share = self.start("share", "--state", self.folder / "s", "--direct", "--json", film)
        shared, begun = share.wait_for("shared"), time.monotonic()
        status, _, err = programs.run("get", *v, "--peer", shared["address"], "-o",
                                      self.folder / "copy", shared["uri"])
        self.assertEqual(status, 0, err)
        self.assertGreater(time.monotonic() - begun, 800_000 / (200 * 1024) * 0.9)

    def test_interrupted(self):
        _, v = self.node("v")
        self.node("s")
        share = self.start("share", "--state", self.folder / "s", "--direct", "--upload-limit",
                           "50k", "--json", self.film(3_000_000))
        shared = share.wait_for("shared")
        get = self.start("get", *v, "--peer", shared["address"], "-o", self.folder / "copy",
                         shared["uri"])
        get.wait_for("first_chunk")
        self.assertEqual(get.end()[0], 130)
        self.eventually(lambda: self.swarms("v"), [])

    def test_the_runtime_folder(self):
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            folder = self.folder / name
            folder.mkdir(mode=0o700)
            before = os.environ.get(name)
            os.environ[name] = str(folder)
            self.addCleanup(os.environ.__setitem__ if before else lambda n, _: os.environ.pop(n),
                            name, before)
        node = self.start("node", "--direct", "--listen", "127.0.0.1:0", "--network", "e2e",
                          "--json")
        node.wait_for("listening")
        at = self.folder / "XDG_RUNTIME_DIR" / "culvert"
        self.assertEqual(stat.S_IMODE(at.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((at / "api.sock").stat().st_mode), 0o600)
        share = self.start("share", "--direct", "--json", self.film(1000))
        share.wait_for("shared")
        status, out, err = programs.run("status", "--json")
        self.assertEqual((status, len(json.loads(out)["swarms"])), (0, 1), err)
        # One socket, one node: a second folder's node does not take it away.
        os.environ["XDG_STATE_HOME"] = str(self.folder / "elsewhere")
        status, _, err = programs.run("node", "--listen", "127.0.0.1:0")
        self.assertEqual((status, err), (3, f"culvert: {at}/api.sock: another node listens there; "
                                            "stop it, or name a folder with --state\n"))

    def test_a_loose_runtime_folder_is_refused(self):
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(self.folder)
        self.addCleanup(os.environ.__setitem__ if before
                        else lambda n, _: os.environ.pop(n), "XDG_RUNTIME_DIR", before)
        loose = self.folder / "culvert"
        loose.mkdir()
        loose.chmod(0o755)
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        self.addCleanup(os.environ.pop, "XDG_STATE_HOME")
        status, _, err = programs.run("node", "--listen", "127.0.0.1:0")
        self.assertEqual((status, err), (3, f"culvert: {loose}: must be a folder of yours with "
                                            "mode 0700; chmod 700 it\n"))

    def post(self, body):
        """What the socket of node s answers: status and lines."""
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(programs.SECONDS)
        link.connect(str(self.folder / "s" / "api.sock"))
        link.sendall(b"POST /api/tasks HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = http.client.HTTPResponse(link, method="POST")
        answer.begin()
        text = answer.read().decode()
        link.close()
        return answer.status, text

    def test_wishes_nobody_understands(self):
        self.node("s")
        self.assertEqual(self.post(b"{")[0], 400)
        self.assertEqual(self.post(b"[]")[0], 400)
        ask = {"verb": "share", "argument": "/f", "folder": "/", "options": {}}
        rows = [
            ({"verb": "relay"}, "verb 'relay': is nothing that a running node does"),
            ({"argument": "f"}, "request 'share': needs absolute names"),
            ({"argument": 7}, "request 'share': needs an argument and an absolute folder"),
            ({"folder": "here"}, "request 'share': needs an argument and an absolute folder"),
            ({"options": {"listen": "127.0.0.1:1"}},
             "option 'listen': is not known to the running node; restart it"),
            ({"options": {"upload-limit": 7}}, "option 'upload-limit': has no text for a value"),
            ({"options": {"upload-limit": "fast"}},
             "upload-limit 'fast': is not a size such as 500k, 4M or 1048576, or none"),
        ]
        for change, line in rows:
            with self.subTest(line):
                status, text = self.post(json.dumps({**ask, **change}).encode())
                events = [json.loads(row) for row in text.splitlines()]
                self.assertEqual(status, 200)
                self.assertEqual(events, [{"event": "error", "say": line, "text": line},
                                          {"event": "end", "status": 2}])
        self.assertEqual(self.swarms("s"), [])

    def test_commands_that_vanish(self):
        """Half-sent wishes and readers that go away leave nothing behind."""
        self.node("s")
        film = self.film(50_000)
        ask = json.dumps({"verb": "share", "argument": str(film), "folder": "/",
                          "options": {"direct": "yes"}}).encode()
        whole = b"POST /api/tasks HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(ask) + ask
        for cut in (5, 40, len(whole) - 1, len(whole)):
            for _ in range(5):
                link = socket.socket(socket.AF_UNIX)
                link.connect(str(self.folder / "s" / "api.sock"))
                link.sendall(whole[:cut])
                link.close()
        self.eventually(lambda: self.swarms("s"), [])


if __name__ == "__main__":
    programs.main()
