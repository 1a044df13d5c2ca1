#!/usr/bin/env python3
"""Whom a node asks when it remembers nobody: its link's contacts, those it was told, the
installed list.

    test_contacts.py CULVERT CULVERT_DHT
"""
import json
import os
import signal
import subprocess
import sys

import programs


class Contacts(programs.Case):
    def setUp(self):
        super().setUp()
        os.environ["XDG_DATA_DIRS"] = str(self.folder / "data")
        self.list = self.folder / "data/culvert/bootstrap"
        self.list.parent.mkdir(parents=True)
        self.dht = subprocess.Popen([DHT, "serve", "--listen", "127.10.0.1:0", "--json"],
                                    stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end_dht)
        self.contact = json.loads(self.dht.stdout.readline())["address"]

    def end_dht(self):
        self.dht.send_signal(signal.SIGINT)
        self.dht.wait(programs.SECONDS)
        self.dht.stdout.close()

    def options(self, name, *more):
        return ["--state", self.folder / name, "--listen", "127.11.0.1:0", "--network", "e2e",
                "--json", *more]

    def joins(self, *args):
        self.start(*args).wait_for("dht_ready")

    def test_the_installed_list(self):
        self.list.write_text(f"# long-lived nodes{' and' * 100}\n\n  {self.contact} \n")
        self.joins("node", *self.options("v"))
        # Who is told somebody asks nobody else.
        status, _, err = programs.run("get", *self.options("w", "--bootstrap", "127.9.9.9:9"),
                                      "-o", self.folder / "copy", self.link())
        self.assertEqual((status, err), (4, "culvert: no bootstrap node answered (tried 1); "
                                            "check the connection, or name another with "
                                            "--bootstrap IP:PORT\n"))
        self.list.write_text(f"{self.contact}\nexample.org:6881\n")
        status, _, err = programs.run("node", *self.options("x"))
        self.assertEqual((status, err),
                         (5, f"culvert: {self.list}:2: 'example.org:6881' is not IP:PORT\n"))

    def link(self, *more):
        """Of a file that somebody shares."""
        film = self.film(1000)
        seeder = self.start("share", "--direct", "--state", self.folder / "s", "--listen",
                            "127.0.0.1:0", "--network", "e2e", "--json", *more, film)
        uri = seeder.wait_for("shared")["uri"]
        seeder.end()
        self.running.remove(seeder)
        return uri

    def test_those_of_the_link(self):
        self.joins("get", *self.options("v"), "-o", self.folder / "copy",
                   self.link("--bootstrap", self.contact))
        # And nobody is asked who was not named: there is no list.
        status, _, err = programs.run("get", *self.options("w"), "-o", self.folder / "other",
                                      self.link())
        self.assertEqual((status, err), (4, "culvert: no DHT node to begin with is known; name "
                                            "one with --bootstrap IP:PORT, or open a link that "
                                            "names one\n"))
        # What is named and never asked is not called silent.
        status, _, err = programs.run("node", "--state", self.folder / "x", "--network", "e2e",
                                      "--bootstrap", "127.9.9.9:9")
        self.assertEqual(status, 4)
        self.assertIn("no address of --bootstrap or of the link is one that this node asks", err)


if __name__ == "__main__":
    DHT = os.path.abspath(sys.argv.pop(2))
    programs.main()
