#!/usr/bin/env python3
"""A running node does what share, get and play ask for, over its socket."""
import http.client
import json
import os
import signal
import socket
import stat
import time
import unittest

import programs


class Daemon(programs.Case):
    def node(self, name, *more):
        """A running node for direct swarms, and how to name it."""
        node = self.start("node", *programs.options(self.folder, name), "--direct", *more)
        node.wait_for("listening")
        return node, ["--state", str(self.folder / name), "--direct", "--json"]

    def swarms(self, name):
        status, out, err = programs.run("status", "--state", self.folder / name, "--json")
        self.assertEqual(status, 0, err)
        return json.loads(out)["swarms"]

    def eventually(self, what, want):
        for _ in range(100):
            if what() == want:
                return
            time.sleep(0.1)
        self.assertEqual(what(), want)

    def lines(self, err):
        return [line for line in err.splitlines() if "hides nothing" not in line]

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
        link.settimeout(30)
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
             "upload-limit 'fast': is not a size such as 500k, 4M or 1048576"),
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
