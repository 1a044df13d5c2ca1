#!/usr/bin/env python3
"""get -o writes into a file that it made itself, and into no other."""
import os
import unittest

import programs


class Output(programs.Case):
    def setUp(self):
        super().setUp()
        self.big = self.film(3_000_000, "big")
        self.fast, self.slow = [
            self.start("share", "--direct", *programs.options(self.folder, name), *more,
                       self.big).wait_for("shared")
            for name, *more in (["fast"], ["slow", "--upload-limit", "50k"])]

    def args(self, out, shared=None):
        shared = shared or self.fast
        return ["get", "--direct", "--peer", shared["address"],
                *programs.options(self.folder, "v"), "-o", out, shared["uri"]]

    def begun(self, out):
        """A fetch into `out` that was interrupted after its first chunks."""
        get = programs.Program(*self.args(out, self.slow))
        get.wait_for("first_chunk")
        self.assertEqual(get.end()[0], 130)

    def refused(self, out, content):
        status, _, err = programs.run(*self.args(out))
        self.assertEqual(status, 5, err)
        self.assertIn(f"culvert: {out}: ", err)
        self.assertEqual(out.read_bytes(), content)

    def test_a_foreign_file(self):
        foreign = self.film(1000, "foreign")
        self.refused(foreign, foreign.read_bytes())

    def test_a_foreign_file_when_the_content_is_half_there_elsewhere(self):
        own, foreign = self.folder / "own", self.film(3_000_000, "foreign")
        self.begun(own)
        before = own.read_bytes()
        self.refused(foreign, foreign.read_bytes())
        # What was fetched is still there, and still counts where it is.
        self.assertEqual(own.read_bytes(), before)
        status, _, err = programs.run(*self.args(own))
        self.assertEqual(status, 0, err)
        self.assertEqual(own.read_bytes(), self.big.read_bytes())

    def test_a_link_to_a_foreign_file(self):
        foreign, link = self.film(1000, "foreign"), self.folder / "link"
        link.symlink_to(foreign)
        self.refused(link, foreign.read_bytes())
        self.assertTrue(link.is_symlink())
        nowhere = self.folder / "nowhere"
        link.unlink()
        link.symlink_to(nowhere)
        status, _, err = programs.run(*self.args(link))
        self.assertEqual(status, 5, err)
        self.assertFalse(nowhere.exists())

    def test_another_name_begins_anew(self):
        self.begun(self.folder / "own")
        other = self.folder / "other"
        status, _, err = programs.run(*self.args(other))
        self.assertEqual(status, 0, err)
        self.assertEqual(other.read_bytes(), self.big.read_bytes())

    def test_what_was_cut_off_is_fetched_again(self):
        own = self.folder / "own"
        self.begun(own)
        os.truncate(own, 2000)
        status, _, err = programs.run(*self.args(own))
        self.assertEqual(status, 0, err)
        self.assertEqual(own.read_bytes(), self.big.read_bytes())


if __name__ == "__main__":
    programs.main()
