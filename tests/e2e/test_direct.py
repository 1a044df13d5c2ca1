#!/usr/bin/env python3
"""Direct swarms of every kind: the file arrives by link and by root hash, over
IPv4 and IPv6, and what does not fit a circuit is refused elsewhere."""
import base64
import re
import time
import unittest

import programs


class Direct(programs.Case):
    def options(self, name, listen="127.0.0.1:0"):
        return ["--state", str(self.folder / name), "--listen", listen, "--network", "e2e",
                "--json"]

    def fetch(self, name, path, *kind, listen="127.0.0.1:0", by="root_hash"):
        seeder = self.start("share", "--direct", *self.options(name + "s", listen), *kind, path)
        shared = seeder.wait_for("shared")
        copy = self.folder / (name + "copy")
        got, _, err = programs.run("get", "--direct", "--peer", shared["address"],
                                   *self.options(name + "v", listen), *kind, "-o", copy,
                                   shared[by])
        self.assertEqual(got, 0, err)
        self.assertEqual(copy.read_bytes(), path.read_bytes())
        seeder.end()
        return shared

    def test_addressing(self):
        path = self.film(300_001)
        for method in ["bin32", "byte64", "chunk32", "bin64", "chunk64"]:
            with self.subTest(method):
                self.fetch(method, path, "--addressing", method)

    def test_hashes(self):
        path = self.film(100_000)
        for name, octets in [("sha1", 20), ("sha224", 28), ("sha384", 48), ("sha512", 64)]:
            with self.subTest(name):
                shared = self.fetch(name, path, "--hash", name)
                self.assertEqual(len(shared["root_hash"]), 2 * octets)

    def test_R8_1_2_chunks_have_1024_octets_by_default(self):
        seeder = self.start("share", "--direct", *self.options("ds"), self.film(100_000))
        shared = seeder.wait_for("shared")
        text = re.search("x=([a-z2-7]+)", shared["uri"])[1].upper()
        link = base64.b32decode(text + "=" * (-len(text) % 8))  # version 1, kind 1, network 8, ..
        self.assertEqual(int.from_bytes(link[13:17], "big"), 1024)
        copy = self.folder / "copy"
        got, _, err = programs.run("get", "--direct", "--peer", shared["address"],
                                   *self.options("dv"), "--chunk-size", "1024", "--hash", "sha256",
                                   "--addressing", "chunk32", "-o", copy, shared["root_hash"])
        self.assertEqual(got, 0, err)

    def test_large_chunks(self):
        path = self.film(1_000_000)
        for size in ["512", "8192", "64000"]:
            with self.subTest(size):
                self.fetch(size, path, "--chunk-size", size)

    def test_download_limit(self):
        """Slower than asked is never an error, faster is."""
        path = self.film(1_200_000)
        seeder = self.start("share", "--direct", *self.options("s"), path)
        shared = seeder.wait_for("shared")
        for name, limit in ("get", "400k"), ("two", "300k"):
            copy, begin = self.folder / name, time.monotonic()
            status, _, err = programs.run(
                "get", "--direct", "--peer", shared["address"], *self.options(name + "v"),
                "--download-limit", limit, "-o", copy, shared["uri"])
            self.assertEqual(status, 0, err)
            least = 1_200_000 / (int(limit[:-1]) * 1024) * 0.9  # what is ready at once: 1/20 s
            self.assertGreater(time.monotonic() - begin, least)
            self.assertEqual(copy.read_bytes(), path.read_bytes())

    def test_ipv6_by_link(self):
        self.fetch("six", self.film(100_000), "--hash", "sha1", "--addressing", "bin32",
                   listen="[::1]:0", by="uri")

    def test_unprotected_only_where_it_is_meant(self):
        path = self.film(50_001)
        shared = self.fetch("none", path, "--integrity", "none", by="uri")
        protected = self.fetch("merkle", path, "--integrity", "merkle", by="uri")
        asked = ["--direct", "--peer", "127.0.0.1:9"]
        meant = ("nothing protects what this link names: whoever serves it decides what it "
                 "contains; add --direct --integrity none if that is meant")
        rows = [
            (["get", *asked, shared["uri"]], meant),
            (["get", shared["uri"]], meant),
            (["play", *asked, shared["uri"]], meant),
            (["get", "--integrity", "none", shared["uri"]], meant),
            (["get", *asked, "--integrity", "none", protected["uri"]],
             "integrity 'none': is not what the link says"),
            (["get", *asked, "--integrity", "none", shared["root_hash"]],
             f"root hash '{shared['root_hash']}': only the link says how long unprotected "
             "content is"),
            (["share", "--integrity", "none", path],
             "integrity 'none': what strangers send is always checked; none needs --direct"),
            (["share", "--direct", "--integrity", "some", path],
             "integrity 'some': is not merkle or none"),
            (["live", "--direct", "--integrity", "merkle", "/dev/null"],
             "integrity 'merkle': is not unified or signall"),
            (["live", "--integrity", "signall", "/dev/null"],
             "integrity 'signall': one forged chunk would cost each viewer a signature; it needs --direct"),
        ]
        for args, line in rows:
            with self.subTest(line):
                got, _, err = programs.run(args[0], *self.options("x"), *args[1:])
                self.assertEqual((got, err.splitlines()), (2, [f"culvert: {line}"]))

    def test_authority(self):
        """What does not belong together is said before anything is shared or fetched."""
        path = self.film(1000)
        key, other = self.folder / "key.pem", self.folder / "other.pem"
        seeder = self.start("share", "--direct", *self.options("as"), "--pex-key", key, path)
        uri = seeder.wait_for("shared")["uri"]
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        text = re.search("&a=([a-z2-7]+)", uri)[1]
        hexadecimal = base64.b32decode(text.upper() + "=" * (-len(text) % 8)).hex()
        another = hexadecimal[:-2] + ("00" if hexadecimal[-2:] != "00" else "01")
        other.write_text("no key")
        other.chmod(0o600)
        asked = ["--direct", "--peer", "127.0.0.1:9"]
        form = ("is not the number of a signature algorithm (08, 0d, 0e or 0f) and its public "
                "key, in hexadecimal digits")
        rows = [
            (2, ["share", "--pex-key", key, path],
             "pex-key: peers name each other in direct swarms only; add --direct"),
            (2, ["get", "--pex-authority", hexadecimal, uri],
             "pex-authority: peers name each other in direct swarms only; add --direct"),
            (5, ["share", "--direct", "--pex-key", other, path],
             f"{other}: is not a private key in PEM; name another file with --pex-key"),
            (2, ["share", "--direct", "--pex-authority", "0f00", path],
             f"pex-authority '0f00': {form}"),
            (2, ["share", "--direct", "--pex-authority", "05" + hexadecimal[2:], path],
             f"pex-authority '05{hexadecimal[2:]}': {form}"),
            (2, ["share", "--direct", "--pex-key", key, "--pex-authority", another, path],
             f"pex-authority '{another}': is not the public key of --pex-key"),
            (2, ["get", *asked, "--pex-authority", "0f" + "11" * 32, uri],
             "the link names another authority than --pex-authority"),
            (2, ["get", *asked, "--pex-certificate", path, uri],
             f"pex-certificate '{path}': is not an X.509 certificate in DER whose critical "
             "subject alternative name is one URI"),
            (5, ["get", *asked, "--pex-certificate", self.folder / "none", uri],
             f"{self.folder / 'none'}: cannot be read"),
            *((2, [verb, "--constant-rate", "2", uri],
               "a constant rate is kept between hidden swarms' circuits, and this is fetched "
               "through a swarm exit: leave out --constant-rate") for verb in ("get", "play")),
        ]
        for wanted, args, line in rows:
            with self.subTest(line):
                got, _, err = programs.run(args[0], *self.options("x"), *args[1:])
                lines = [text for text in err.splitlines() if "hides nothing" not in text]
                self.assertEqual((got, lines), (wanted, [f"culvert: {line}"]))
        seeder.end()
        # the same key again: the same link
        seeder = self.start("share", "--direct", *self.options("as"), "--pex-key", key, path)
        self.assertEqual(seeder.wait_for("shared")["uri"], uri)
        seeder.end()

    def test_refused(self):
        path = self.film(1000)
        rows = [
            (["share", "--chunk-size", "8192", path],
             "chunk-size '8192': a cell of a circuit carries 1024 octets; larger chunks need "
             "--direct"),
            (["share", "--direct", "--chunk-size", "0.1k", path],
             "chunk-size '102': is not between 512 and 65000 octets"),
            (["share", "--direct", "--chunk-size", "65001", path],
             "chunk-size '65001': is not between 512 and 65000 octets"),
            (["share", "--direct", "--hash", "md5", path],
             "hash 'md5': is not sha1, sha224, sha256, sha384 or sha512"),
            (["share", "--direct", "--addressing", "names", path],
             "addressing 'names': is not bin32, byte64, chunk32, bin64 or chunk64"),
            (["get", "--at", "b" * 64, "a" * 64],
             f"root hash '{'a' * 64}': give the relay's link with --at"),
            (["get", "--direct", "--peer", "127.0.0.1:9", "a" * 40],
             f"root hash '{'a' * 40}': has not the length of that hash function; name it with "
             "--hash"),
        ]
        for args, line in rows:
            with self.subTest(line):
                got, _, err = programs.run(args[0], *self.options("x"), *args[1:])
                lines = [text for text in err.splitlines() if "hides nothing" not in text]
                self.assertEqual((got, lines), (2, [f"culvert: {line}"]))


if __name__ == "__main__":
    programs.main()
