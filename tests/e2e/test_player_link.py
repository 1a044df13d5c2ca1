#!/usr/bin/env python3
"""What a player sees: ranges, tags, waiting for what is not there yet; and what
a stranger on the same machine does not get."""
import hashlib
import http.client
import os
import socket
import time
import unittest
import urllib.parse

import programs


class PlayerLink(programs.Case):
    SIZE = 3 * 1024 * 1024 + 77

    def setUp(self):
        super().setUp()
        self.path = self.film(self.SIZE, "film & more.mp4")
        self.data = self.path.read_bytes()
        self.seeder = self.start("share", "--direct", *programs.options(self.folder, "seeder"),
                                 self.path)
        self.shared = self.seeder.wait_for("shared")

    def viewer(self, *more):
        v = self.start("play", "--no-player", "--direct", "--peer", self.shared["address"],
                       *programs.options(self.folder, "viewer"), *more, self.shared["uri"])
        return v, urllib.parse.urlsplit(v.wait_for("link")["url"])

    def ask(self, link, method="GET", path=None, **headers):
        connection = http.client.HTTPConnection(link.hostname, link.port, timeout=programs.SECONDS)
        connection.request(method, path or f"{link.path}?{link.query}",
                           headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def protected(self, answer):
        """What every answer says, and an error above all."""
        for name, want in (("X-Content-Type-Options", "nosniff"),
                           ("Cross-Origin-Resource-Policy", "same-origin"),
                           ("Referrer-Policy", "no-referrer"),
                           ("Cache-Control", "private, no-store")):
            self.assertEqual(answer.getheader(name), want)

    def test_ranges_tags_and_heads(self):
        _, link = self.viewer()
        answer, body = self.ask(link)
        self.assertEqual((answer.status, body), (200, self.data))
        self.protected(answer)
        self.assertEqual(answer.getheader("Accept-Ranges"), "bytes")
        self.assertIn("no-store", answer.getheader("Cache-Control"))
        tag = answer.getheader("ETag")

        rows = [
            # Range, status, first, last
            ("bytes=0-", 206, 0, self.SIZE - 1),
            ("bytes=1000-1999", 206, 1000, 1999),
            ("bytes=-77", 206, self.SIZE - 77, self.SIZE - 1),
            (f"bytes={self.SIZE - 1}-", 206, self.SIZE - 1, self.SIZE - 1),
            ("bytes=5-1", 200, 0, self.SIZE - 1),
            ("lines=1-2", 200, 0, self.SIZE - 1),
        ]
        for text, status, first, last in rows:
            with self.subTest(text):
                answer, body = self.ask(link, Range=text)
                self.assertEqual(answer.status, status)
                self.assertEqual(body, self.data[first:last + 1])
                if status == 206:
                    self.assertEqual(answer.getheader("Content-Range"),
                                     f"bytes {first}-{last}/{self.SIZE}")

        answer, _ = self.ask(link, Range=f"bytes={self.SIZE}-")
        self.assertEqual(answer.status, 416)
        self.assertEqual(answer.getheader("Content-Range"), f"bytes */{self.SIZE}")

        answer, body = self.ask(link, "HEAD", Range="bytes=1000-1999")
        self.assertEqual((answer.status, body), (206, b""))
        self.assertEqual(answer.getheader("Content-Length"), "1000")

        answer, body = self.ask(link, Range="bytes=0-9", If_Range=tag)
        self.assertEqual((answer.status, body), (206, self.data[:10]))
        answer, body = self.ask(link, Range="bytes=0-9", If_Range='"other"')
        self.assertEqual((answer.status, len(body)), (200, self.SIZE))
        answer, _ = self.ask(link, If_None_Match=tag)
        self.assertEqual(answer.status, 304)

    def test_strangers_get_nothing(self):
        _, link = self.viewer()
        rows = [
            ("no token", 403, link.path, {}),
            ("wrong token", 403, f"{link.path}?k={'0' * 32}", {}),
            ("token cut", 403, f"{link.path}?{link.query[:-1]}", {}),
            ("unknown file", 403, f"/s/{'0' * 16}/film?{link.query}", {}),
            ("elsewhere", 404, "/film", {}),
            ("the interface with a file's token", 401, f"/api/status?{link.query}", {}),
            ("another site's player", 403, None, {"Sec-Fetch-Site": "cross-site"}),
            ("up and out", 403, "/s/../../etc/passwd", {}),
            ("foreign host", 421, None, {"Host": "evil.example"}),
            ("foreign port", 421, None, {"Host": "127.0.0.1:1"}),
        ]
        for name, status, path, headers in rows:
            with self.subTest(name):
                answer, body = self.ask(link, path=path, **headers)
                self.assertEqual(answer.status, status)
                self.assertNotIn(self.data[:32], body)
                self.assertIsNone(answer.getheader("Access-Control-Allow-Origin"))
                self.protected(answer)
        for method in ("POST", "DELETE"):
            answer, _ = self.ask(link, method)
            self.assertEqual(answer.status, 405)
            self.protected(answer)
        answer, body = self.ask(link, "HEAD", path="/film")
        self.assertEqual((answer.status, body), (404, b""))
        self.protected(answer)
        answer, _ = self.ask(link, X="y" * 9000)
        self.assertIn(answer.status, (400, 413, 431))

    def test_a_body_waits_for_what_is_not_there(self):
        status, err = self.seeder.end()
        self.assertEqual(status, 0, err)
        viewer, link = self.viewer()
        connection = socket.create_connection((link.hostname, link.port))
        connection.sendall(f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n"
                           "Range: bytes=100-\r\n\r\n".encode())
        connection.settimeout(programs.SECONDS)
        head = connection.recv(65536)
        self.assertTrue(head.startswith(b"HTTP/1.1 206"), head)
        self.assertTrue(head.endswith(b"\r\n\r\n"), "octets came from nowhere")
        connection.settimeout(1)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        # The seeder comes back where it was, and the body goes on.
        at = self.shared["address"]
        again = programs.options(self.folder, "seeder")
        again[again.index("127.0.0.1:0")] = at
        seeder = self.start("share", "--direct", *again, self.path)
        seeder.wait_for("shared")
        connection.settimeout(programs.SECONDS)
        body = bytearray()
        while len(body) < self.SIZE - 100:
            data = connection.recv(65536)
            self.assertTrue(data, "the body was cut")
            body += data
        self.assertEqual(hashlib.sha256(body).digest(),
                         hashlib.sha256(self.data[100:]).digest())
        connection.close()
        viewer.wait_for("complete")

    def test_players_hang_up_all_the_time(self):
        viewer, link = self.viewer()
        for i in range(50):
            connection = socket.create_connection((link.hostname, link.port))
            connection.sendall(f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n"
                               f"Range: bytes={i * 60000}-\r\n\r\n".encode())
            if i % 3:
                connection.recv(1000)
            connection.close()
        viewer.wait_for("complete")
        answer, body = self.ask(link)
        self.assertEqual((answer.status, body), (200, self.data))

    def test_who_hangs_up_is_gone_at_once(self):
        """All places are taken, and all wishes of the swarm with them: one that hangs up makes room
        for the next request, not for one that comes after a while."""
        self.seeder.end()  # so that nobody is served to the end
        _, link = self.viewer()
        head = f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\nRange: bytes="

        def player(first):
            connection = socket.create_connection((link.hostname, link.port))
            connection.settimeout(programs.SECONDS)
            connection.sendall(f"{head}{first}-\r\n\r\n".encode())
            return connection, connection.recv(65536).split(b" ", 2)[1]

        players = []
        while len(players) < 100:
            connection, status = player(len(players))
            if status == b"503":
                break
            self.assertEqual(status, b"206")
            players.append(connection)
        connection.close()
        self.assertEqual(len(players), 62)  # and both ends of the film, which `play` wants
        tries = []
        for i in range(20):
            players.pop(i).close()
            tries.append(0)
            status = b"503"
            while status == b"503" and tries[-1] < 100:
                connection, status = player(i)
                tries[-1] += 1
                if status == b"503":
                    connection.close()
            players.append(connection)
        # On a busy machine a hang-up may once be heard of after what was said behind it.
        self.assertLessEqual(sorted(tries)[15], 1, tries)
        for connection in players:
            connection.close()

    def test_requests_sent_ahead_do_not_pile_up(self):
        self.seeder.end()  # so that the first answer takes for ever
        _, link = self.viewer()
        connection = socket.create_connection((link.hostname, link.port))
        head = f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n\r\n".encode()
        connection.sendall(head)
        connection.settimeout(programs.SECONDS)
        self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
        sent, many = 0, head * 2000
        with self.assertRaises(OSError):  # it is hung up on before long
            while sent < 64 << 20:
                sent += connection.send(many)
        connection.close()
        answer, _ = self.ask(link, "HEAD")
        self.assertEqual(answer.status, 200)

    def test_players_that_are_gone_leave_their_places(self):
        """They sent ahead, so that their hanging up stands behind what is not read."""
        self.seeder.end()
        program, link = self.viewer()
        head = f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n\r\n".encode()
        for _ in range(3):
            players = []
            for _ in range(30):
                player = socket.create_connection((link.hostname, link.port))
                player.settimeout(programs.SECONDS)
                player.sendall(head)
                self.assertTrue(player.recv(65536).startswith(b"HTTP/1.1 200"))
                player.setblocking(False)
                player.send(head * 600)
                players.append(player)
            for player in players:
                player.close()
            fds = f"/proc/{program.process.pid}/fd"
            limit = time.monotonic() + programs.SECONDS
            while len(os.listdir(fds)) >= 60 and time.monotonic() < limit:
                time.sleep(0.2)
        # Ninety came; there are sixty-four places.
        self.assertLess(len(os.listdir(fds)), 60)

    def test_who_closes_a_film_ends_its_players(self):
        options = programs.options(self.folder, "node")
        node = self.start("node", "--direct", *options)
        node.wait_for("listening")
        self.seeder.end()
        command = self.start("play", "--no-player", "--direct", "--peer", self.shared["address"],
                             *options, self.shared["uri"])
        link = urllib.parse.urlsplit(command.wait_for("link")["url"])
        player = socket.create_connection((link.hostname, link.port))
        player.settimeout(programs.SECONDS)
        player.sendall(f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\n\r\n"
                       .encode())
        self.assertTrue(player.recv(65536).startswith(b"HTTP/1.1 200"))
        command.end()
        self.assertEqual(player.recv(65536), b"")
        player.close()

    def test_an_old_player(self):
        """HTTP/1.0: no chunked coding, the connection ends with the answer."""
        _, link = self.viewer()
        for host, status in ((f"Host: {link.netloc}\r\n", b"200"), ("", b"421")):
            connection = socket.create_connection((link.hostname, link.port))
            connection.settimeout(programs.SECONDS)
            connection.sendall(f"GET {link.path}?{link.query} HTTP/1.0\r\n{host}\r\n".encode())
            answer = b""
            while data := connection.recv(65536):
                answer += data
            connection.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertEqual(head.split()[1], status)
            self.assertNotIn(b"chunked", head.lower())
            if status == b"200":
                self.assertEqual(body, self.data)

    def test_ipv6(self):
        seeder = self.start("share", "--direct", "--state", self.folder / "six", "--network", "e2e",
                            "--json", "--listen", "[::1]:0", self.path)
        shared = seeder.wait_for("shared")
        self.assertTrue(shared["address"].startswith("[::1]:"), shared)
        v = self.start("play", "--no-player", "--direct", "--peer", shared["address"], "--state",
                       self.folder / "viewer6", "--network", "e2e", "--json", "--listen", "[::1]:0",
                       "--http", "[::1]:0", shared["uri"])
        link = urllib.parse.urlsplit(v.wait_for("link")["url"])
        self.assertEqual(link.hostname, "::1")
        answer, body = self.ask(link)
        self.assertEqual((answer.status, body), (200, self.data))
        answer, _ = self.ask(link, Host="[::1]:1")
        self.assertEqual(answer.status, 421)

    def test_link_is_the_same_after_a_restart(self):
        viewer, link = self.viewer()
        viewer.wait_for("complete")
        viewer.end()
        time.sleep(0.1)
        _, again = self.viewer()
        self.assertEqual((link.path, link.query), (again.path, again.query))


if __name__ == "__main__":
    programs.main()
