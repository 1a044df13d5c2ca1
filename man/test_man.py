#!/usr/bin/env python3
"""Every option and verb of --help is in the manual page, and the page is well formed.

Usage: test_man.py PROGRAM PAGE [PROGRAM PAGE...]
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

PAGES = list(zip(sys.argv[1::2], sys.argv[2::2]))


def help_of(*command):
    return subprocess.run([*command, '--help'], check=True, capture_output=True,
                          text=True).stdout


def shown(page):
    """As a reader sees it, on one line."""
    text = subprocess.run(['mandoc', '-T', 'ascii', '-O', 'width=200', page], check=True,
                          capture_output=True, text=True).stdout
    return ' '.join(re.sub('.\b', '', text).split())


def options(text):
    """Every option with what it takes, by its short letter and long name."""
    return [match[1] for match in re.finditer(r'^ +(?:-\S, +)?(--[a-z][a-z-]*(?:\[?=\S+)?)', text, re.M)]


class Help(unittest.TestCase):
    def test_fits(self):
        """A terminal of 80 columns breaks nothing, and argp no line that was broken by hand."""
        for program, _ in PAGES:
            with self.subTest(program):
                lines = help_of(program).splitlines()
                self.assertEqual([line for line in lines if len(line) > 79], [])
                wide = subprocess.run([program, '--help'], check=True, capture_output=True, text=True,
                                      env=dict(os.environ, ARGP_HELP_FMT='rmargin=200')).stdout.splitlines()
                after = 'Commands:'
                if after in lines:
                    self.assertEqual(lines[lines.index(after):], wide[wide.index(after):])


class Pages(unittest.TestCase):
    def test_form(self):
        self.assertTrue(PAGES)
        for _, page in PAGES:
            with self.subTest(page):
                lint = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', page], check=False,
                                      capture_output=True, text=True).stdout.splitlines()
                # A date would make two builds of one source differ.
                self.assertEqual([text for text in lint if 'missing date' not in text], [])
                text = shown(page)
                for section in ('NAME', 'SYNOPSIS', 'DESCRIPTION', 'SEE ALSO'):
                    self.assertIn(section, text)
                self.assertIn(pathlib.Path(page).stem + ' - ', text)

    def test_nothing_is_missing(self):
        for program, page in PAGES:
            text, top = shown(page), help_of(program)
            verbs = re.findall(r'^  ([a-z]+) +(?:[A-Z\[|\].-]+ +)*[a-z]', top, re.M)
            asked = [('', top)]
            if pathlib.Path(page).stem == 'culvert':
                asked += [(verb, help_of(program, verb)) for verb in verbs]
                self.assertGreaterEqual(len(asked), 8)
                for verb in ('play', 'share', 'live', 'node', 'status', 'identity'):
                    self.assertIn(verb, verbs)
                self.assertIn("take it out of a channel's list of recordings; files of yours stay", text)
                self.assertIn('identity ACTION [FILE] Export FILE, ', text)
            # Tools have commands, and all say what their status means.
            commands = re.findall(r'^  ([a-z-]+)(?: .*)$', top.partition('Commands:')[2].partition('\n\n')[0], re.M)
            if pathlib.Path(page).stem == 'culvert-ledger':
                self.assertGreaterEqual(len(commands), 19)
            for command in commands:
                with self.subTest(page=page, command=command):
                    self.assertIn(command, text.partition(' COMMANDS ')[2].partition(' OPTIONS ')[0].split())
            status = ' '.join(top.partition('Exit status:')[2].split())
            self.assertIn(status, text.partition(' EXIT STATUS ')[2])
            for verb, out in asked:
                found = [o for o in options(out) if o not in ('--help', '--usage', '--version')]
                if verb:
                    self.assertIn('--json', found)
                for option in found:
                    with self.subTest(page=page, verb=verb, option=option):
                        self.assertIn(option, text)


if __name__ == '__main__':
    del sys.argv[1:]
    unittest.main()
