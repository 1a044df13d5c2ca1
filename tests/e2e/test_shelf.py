"""Many files shared at once: none is open before somebody asks for it."""
import os
import random
import socket
import struct

import programs


class Shelf(programs.Case):
    FILES, ASKED = 200, 70  # more than are open at once

    def descriptors(self, program):
        return len(os.listdir(f"/proc/{program.process.pid}/fd"))

    def test_a_file_is_opened_when_somebody_asks(self):
        contents = {}
        for i in range(self.FILES):
            path = self.folder / f"film-{i}"
            contents[path.name] = os.urandom(random.randint(1, 40000))
            path.write_bytes(contents[path.name])
        seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                            *(self.folder / name for name in contents))
        seeder.wait_for("shared", 120, count=self.FILES)
        asleep = self.descriptors(seeder)
        links = [e for e in seeder.events if e["event"] == "shared"]
        for i, link in enumerate(random.sample(links, self.ASKED)):
            name = link["uri"].split("n=")[1].split("&")[0]
            out = self.folder / f"copy-{i}"
            status, _, err = programs.run(
                "get", "--direct", *programs.options(self.folder, "viewer"), "--peer",
                link["address"], "--output", out, link["uri"])
            self.assertEqual(status, 0, err)
            self.assertEqual(out.read_bytes(), contents[name])
            self.assertLessEqual(self.descriptors(seeder), asleep + 4 * 64)

    def hello(self, root):
        """RFC 7574's first datagram: a HANDSHAKE of version 1 for a swarm of 32-bit chunk
        ranges, SHA-256 and chunks of 1024 octets."""
        options = (b"\0\1" b"\1\1" + b"\2" + struct.pack(">H", len(root)) + root +
                   b"\3\1" b"\4\2" b"\6\2" b"\x09" + struct.pack(">I", 1024) + b"\xff")
        return bytes(4) + b"\0" + struct.pack(">I", random.getrandbits(32) | 1) + options

    def first_chunk(self, s, root):
        """Shakes hands, asks for chunk 0 and waits for it; both are repeated, as one does, and
        who hears nothing for two seconds calls anew: the file may have been closed for others."""
        channel = None
        for turn in range(1200):
            if turn % 40 == 39:
                channel = None
            s.settimeout(0.05)
            s.send(self.hello(root) if channel is None else
                   channel + b"\x08" + struct.pack(">II", 0, 0))
            try:
                while True:
                    answer = s.recv(2000)
                    if answer[4:5] == b"\0" and len(answer) > 9:
                        channel = answer[5:9]
                        break
                    data = answer.find(b"\x01" + struct.pack(">II", 0, 0), 4)
                    if data >= 0:
                        s.send(channel + b"\0" + bytes(4) + b"\xff")  # goodbye
                        return answer[data + 17:]
            except TimeoutError:
                continue
        return None

    def test_more_are_asked_for_at_once_than_can_be_open(self):
        """Many strangers call within a moment, again and again: files are closed for others
        while they are being opened."""
        films = {}
        for i in range(self.FILES):
            films[f"film-{i}"] = os.urandom(3000)
            (self.folder / f"film-{i}").write_bytes(films[f"film-{i}"])
        seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                            *(self.folder / f"film-{i}" for i in range(self.FILES)))
        seeder.wait_for("shared", 120, count=self.FILES)
        links = [e for e in seeder.events if e["event"] == "shared"]
        contents = {link["root_hash"]: films[link["uri"].split("n=")[1].split("&")[0]][:1024]
                    for link in links}
        ip, port = links[0]["address"].rsplit(":", 1)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
        for _ in range(4):
            random.shuffle(links)
            for i, link in enumerate(links):
                sockets[i % 20].sendto(self.hello(bytes.fromhex(link["root_hash"])),
                                       (ip, int(port)))
        for s in sockets:
            s.close()
        # Whatever is open now and whatever is not: everybody who asks is answered.
        for link in links:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.connect((ip, int(port)))
                self.assertEqual(self.first_chunk(s, bytes.fromhex(link["root_hash"])),
                                 contents[link["root_hash"]], "other octets, or none")
        self.assertIsNone(seeder.process.poll(), "it fell over")

    def test_a_running_node_shares_them_whatever_their_kind(self):
        kind = ["--hash", "sha1", "--chunk-size", "4096", "--addressing", "bin64"]
        self.start("node", *programs.options(self.folder, "s"), "--direct").wait_for("listening")
        films = [self.film(30_000 + i, f"film-{i}") for i in range(3)]
        share = self.start("share", "--state", self.folder / "s", "--direct", "--json", *kind,
                           *films)
        share.wait_for("shared", count=len(films))
        for film in films:
            link = next(e for e in share.events if f"n={film.name}&" in e.get("uri", ""))
            self.assertEqual(len(link["root_hash"]), 40)
            out = self.folder / f"copy-of-{film.name}"
            status, _, err = programs.run(
                "get", "--direct", *programs.options(self.folder, "viewer"), *kind, "--peer",
                link["address"], "--output", out, link["root_hash"])
            self.assertEqual(status, 0, err)
            self.assertEqual(out.read_bytes(), film.read_bytes())

    def test_one_that_is_missing(self):
        status, _, err = programs.run(
            "share", "--direct", *programs.options(self.folder, "seeder"), self.film(1000),
            self.folder / "none")
        self.assertEqual(status, 5)
        self.assertIn(f"culvert: {self.folder}/none: No such file or directory", err)

    def test_several_files_are_shared_directly_only(self):
        one, two = self.film(1000, "one"), self.film(1000, "two")
        status, _, err = programs.run("share", *programs.options(self.folder, "seeder"), one, two)
        self.assertEqual((status, err), (2, "culvert: several files can be shared with --direct "
                                            "only, without --secret; share them one by one\n"))


if __name__ == "__main__":
    programs.main()
