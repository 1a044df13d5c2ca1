"""Many files shared at once: none is open before somebody asks for it."""
import os
import random

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
