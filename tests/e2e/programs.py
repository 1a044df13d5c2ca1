"""The built programs, run as a person or a script runs them."""
import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

CULVERT = None  # set by main()
LEDGER = None
CLONE_NEWNET = 0x40000000
SECONDS = 120  # until something counts as never happening, on the slowest machine


def alone():
    """Into a network namespace whose loopback nobody else uses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "needs root: a network of its own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def options(folder, name):
    return ["--state", str(folder / name), "--listen", "127.0.0.1:0", "--network", "e2e",
            "--json"]


class Program:
    """A program that prints a JSON object a line on its standard output."""

    def __init__(self, *args, stdin=None, env=None, within=()):
        self.process = subprocess.Popen([*within, CULVERT, *map(str, args)], stdin=stdin, env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.buffer = b""
        self.events = []

    def said(self, name):
        """The events of a name that were read so far."""
        return [event for event in self.events if event.get("event") == name]

    def hears(self, name, seconds=SECONDS, count=1):
        """Whether there are `count` events of a name, at once or in so many seconds."""
        limit = time.monotonic() + seconds
        while len(self.said(name)) < count:
            left = limit - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                return False
            self.buffer += data
            *lines, self.buffer = self.buffer.split(b"\n")
            self.events += [json.loads(line) for line in lines]
        return True

    def wait_for(self, name, seconds=SECONDS, count=1):
        """The first event of a name, once there are `count` of them."""
        if not self.hears(name, seconds, count):
            raise AssertionError(f"no '{name}': {self.events[-3:]} {self.end()[1]}")
        return self.said(name)[0]

    def drain(self):
        """What it has printed is taken and forgotten: with a full pipe it would stand still."""
        for pipe in (self.process.stdout, self.process.stderr):
            while select.select([pipe], [], [], 0)[0] and os.read(pipe.fileno(), 65536):
                pass

    def end(self, how=signal.SIGINT):
        """Exit status and standard error."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            _, err = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, err = self.process.communicate()
        return self.process.returncode, err.decode(errors="replace")


def days_off(days):
    """The environment as on a machine whose clock is so many days ahead (or behind, below 0)."""
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    env = dict(os.environ, FAKETIME=f"{days:+d}d", FAKETIME_DONT_FAKE_MONOTONIC="1",
               FAKETIME_NO_CACHE="1")
    needed = subprocess.run(["ldd", CULVERT], capture_output=True, text=True, check=True)
    asan = re.search(r"libasan\S* => (\S+)", needed.stdout)
    # A sanitizer must be the first library of all.
    env["LD_PRELOAD"] = " ".join([*([asan[1]] if asan else []), str(library)])
    return env


def run(*args, timeout=SECONDS, env=None, folder=None):
    """A program that ends by itself: status, standard output, standard error."""
    done = subprocess.run([CULVERT, *map(str, args)], capture_output=True, timeout=timeout,
                          env=env, cwd=folder, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Case(unittest.TestCase):
    """A test with a folder of its own and programs that are ended after it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-e2e-"))
        self.running = []

    def release(self):
        """What must be done before the folder can be removed."""

    def tearDown(self):
        try:
            self.end_all()
        finally:
            self.release()
            shutil.rmtree(self.folder)

    def end_all(self):
        for program in reversed(self.running):
            status, err = program.end()
            # Sanitizers end a program with a status of their own.
            self.assertNotIn("Sanitizer", err)
            # Who is ended before he could say what he does then ends by the signal itself.
            self.assertIn(status, (0, 130, -signal.SIGINT, -signal.SIGKILL), err)

    def start(self, *args, **how):
        program = Program(*args, **how)
        self.running.append(program)
        return program

    def page_of(self, state):
        """The link that opens the page of the node with this state folder."""
        status, out, err = run("status", "--state", state, "--json")
        self.assertEqual(status, 0, err)
        return json.loads(out)["page"]

    def film(self, octets, name="film.bin"):
        path = self.folder / name
        path.write_bytes(os.urandom(octets))
        return path


def main():
    global CULVERT, LEDGER
    CULVERT = os.path.abspath(sys.argv.pop(1))  # tests change the folder
    # What a shell starts in the background ignores them, and so would all our children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        LEDGER = sys.argv.pop(1)
    unittest.main()
