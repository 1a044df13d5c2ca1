"""A program on a pseudo terminal."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import programs


class Terminal:
    """A program on a pseudo terminal; `text` is all that it wrote, without escape codes."""

    def __init__(self, *args, rows=24, columns=100, **env):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [programs.CULVERT, *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **env))
        os.close(slave)
        self.raw = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self):
        plain = re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|[()].|.)", b" ", self.raw)
        return plain.decode(errors="replace")

    def wait_for(self, word):
        limit = time.monotonic() + programs.SECONDS
        while word not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(limit - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"no '{word}' in {self.text[-2000:]}")
            try:
                self.raw += os.read(self.master, 65536)
            except OSError as end:  # the other side is closed
                raise AssertionError(f"no '{word}' in {self.text[-2000:]}") from end

    def end(self, keys=b""):
        """What is left of its output is read; its exit status."""
        os.write(self.master, keys)
        try:
            while data := os.read(self.master, 65536):
                self.raw += data
        except OSError:
            pass
        os.close(self.master)
        return self.process.wait(programs.SECONDS)
