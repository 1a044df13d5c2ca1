#!/usr/bin/env python3
"""Shells complete what --help lists: every verb, every option, and files where files
are meant.

    test_completion.py CULVERT SCRIPT..."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

CULVERT = os.path.abspath(sys.argv[1])
SCRIPTS = {path.suffix[1:]: path.resolve() for path in map(pathlib.Path, sys.argv[2:])}


def help_of(*command):
    return subprocess.run([CULVERT, *command, "--help"], check=True, capture_output=True,
                          text=True).stdout


def verbs():
    return set(re.findall(r"^  ([a-z]+) ", help_of(), re.M))


def options(verb):
    found = re.findall(r"^ +(?:-\S, +)?(--[a-z][a-z-]*)", help_of(verb), re.M)
    return set(found) - {"--usage", "--version"}


class Completion(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        (pathlib.Path(self.folder.name) / "film.mp4").touch()

    def shell(self, *command):
        done = subprocess.run(command, check=False, capture_output=True, text=True,
                              cwd=self.folder.name, env=dict(os.environ, HOME=self.folder.name))
        self.assertEqual(done.stderr, "", command)
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    def bash(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _culvert 2>/dev/null;'
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        return self.shell("bash", "-c", script, "bash", SCRIPTS["bash"], "culvert", *words)

    def fish(self, *words):
        line = " ".join(["culvert", *words])
        return self.shell("fish", "--no-config", "-c",
                          f"source {SCRIPTS['fish']}; complete -C '{line}'")

    def test_the_build_wrote_them(self):
        self.assertEqual(set(SCRIPTS), {"bash", "zsh", "fish"})

    def test_every_verb_and_option(self):
        self.assertIn("doctor", verbs())
        self.assertLessEqual(verbs(), self.bash(""))
        self.assertLessEqual(verbs(), self.fish(""))
        zsh = SCRIPTS["zsh"].read_text()
        for verb in verbs():
            with self.subTest(verb):
                self.assertEqual(self.bash(verb, "--") - {"--help"}, options(verb) - {"--help"})
                self.assertLessEqual(options(verb) - {"--help"}, self.fish(verb, "--"))
                part = zsh.split(f"\n    {verb})")[1].split(";;")[0]
                for option in options(verb):
                    self.assertIn(option, part)

    def test_values(self):
        self.assertTrue(any("film" in word for word in self.bash("get", "-o", "fi")))
        self.assertTrue(any("film" in word for word in self.bash("share", "fi")))
        self.assertEqual(self.bash("get", "--listen", "fi"), {""})
        self.assertEqual(self.bash("completion", ""), {"bash", "zsh", "fish"})
        self.assertTrue(any("film" in word for word in self.fish("share", "fi")))
        self.assertFalse(any("film" in word for word in self.fish("play", "fi")))
        self.assertLessEqual({"bash", "zsh", "fish"}, self.fish("completion", ""))

    def test_zsh_reads_it(self):
        self.shell("zsh", "-f", "-n", SCRIPTS["zsh"])
        out = self.shell("zsh", "-f", "-c", 'autoload -U compinit; compinit -u -d "$HOME/dump"; '
                         'source "$1"; print $_comps[culvert]', "zsh", SCRIPTS["zsh"])
        self.assertEqual(out, {"_culvert"})

    def test_another_shell(self):
        done = subprocess.run([CULVERT, "completion", "csh"], check=False, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("csh", done.stderr)


if __name__ == "__main__":
    del sys.argv[1:]
    unittest.main()
