#!/usr/bin/env python3
"""Shells complete what --help lists: every verb, every option, and files where files
are meant.

    test_completion.py CULVERT SCRIPT..."""
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
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


class Zsh:
    """One on a terminal of its own: its completion works nowhere else."""

    def __init__(self, home):
        (home / "_culvert").write_bytes(SCRIPTS["zsh"].read_bytes())
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, cwd=home,
                                        env=dict(os.environ, HOME=str(home), TERM="dumb", PS1=""))
        os.close(slave)
        # Ctrl-X says what the line is, and begins a new one.
        self.ask('unset zle_bracketed_paste; KEYTIMEOUT=1; fpath=($HOME $fpath); autoload -U compinit; '
                 'compinit -u -d $HOME/dump; say() { print -r -- "<""<$BUFFER>>"; BUFFER=; }; '
                 'zle -N say; bindkey "^X" say; print "<""<it is there>>"\n')

    def ask(self, keys):
        """What stands between the marks after these keys, and all that was written."""
        os.write(self.master, keys.encode())
        text, limit = "", time.monotonic() + 240
        while not (found := re.search(r"<<(.*?)>>", text, re.DOTALL)):
            ready, _, _ = select.select([self.master], [], [], max(limit - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"zsh says nothing but {text!r}")
            text += os.read(self.master, 65536).decode(errors="replace")
        return found.group(1), text

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


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

    def test_zsh_completes(self):
        """For each verb, so that nothing in what follows it is refused."""
        zsh = Zsh(pathlib.Path(self.folder.name))
        self.addCleanup(zsh.end)
        rows = [(f"{verb} --js", f"{verb} --json ") for verb in verbs()]
        rows += [("rela", "relay "), ("completion fi", "completion fish "),
                 ("rm --pur", "rm --purge "), ("share fi", "share film.mp4 "),
                 ("get --json --js", "get --json --js"),  # once is enough, but of some
                 ("get --bootstrap 127.0.0.1:1 --boots", "get --bootstrap 127.0.0.1:1 --bootstrap=")]
        for line, want in rows:
            with self.subTest(line):
                found, text = zsh.ask(f"culvert {line}\t\x18")
                self.assertEqual(found, f"culvert {want}", text)

    def test_another_shell(self):
        done = subprocess.run([CULVERT, "completion", "csh"], check=False, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("csh", done.stderr)


if __name__ == "__main__":
    del sys.argv[1:]
    unittest.main()
