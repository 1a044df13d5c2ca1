"""mpv as somebody's player, without screen and sound: where it is in the film, and how long it
had to wait for more."""
import json
import socket
import subprocess
import time

BUFFER = 5  # seconds it reads ahead
EVERY = 0.05  # seconds between two looks at it


class Player:
    def __init__(self, host, folder, url):
        self.path = folder / "mpv"
        self.errors = open(folder / "mpv.log", "w+b")
        self.process = subprocess.Popen(
            host.command("mpv", "--no-config", "--no-ytdl", "--ao=null", "--vo=null", "--no-terminal",
                         "--msg-level=all=error", f"--log-file={folder / 'mpv-all.log'}",
                         "--cache=yes", f"--cache-secs={BUFFER}", "--cache-pause-wait=0.1",
                         f"--demuxer-readahead-secs={BUFFER}", "--network-timeout=600",
                         f"--input-ipc-server={self.path}", url),
            stdout=self.errors, stderr=self.errors)
        self.wire, self.rest = None, b""
        self.at, self.moved, self.worst = None, None, 0.0

    def ask(self, *command):
        """The answer; None: it has none just now."""
        if self.wire is None:
            try:
                self.wire = socket.socket(socket.AF_UNIX)
                self.wire.settimeout(60)
                self.wire.connect(str(self.path))
            except OSError:
                self.wire = None
                return None
        try:
            self.wire.sendall(json.dumps({"command": command}).encode() + b"\n")
            while True:
                while b"\n" not in self.rest:
                    data = self.wire.recv(65536)
                    if not data:
                        return None
                    self.rest += data
                line, self.rest = self.rest.split(b"\n", 1)
                said = json.loads(line)
                if "event" not in said:
                    return said.get("data")
        except OSError:
            return None  # it has ended

    def over(self):
        return self.process.poll() is not None

    def look(self):
        """One look: does it go on?"""
        now, at = time.monotonic(), self.ask("get_property", "time-pos")
        if at is None or at == self.at:
            if self.moved is not None:
                self.worst = max(self.worst, now - self.moved)
            return
        self.at, self.moved = at, now

    def waits(self):
        """Seconds since the picture moved."""
        return time.monotonic() - self.moved if self.moved else 0.0

    def play(self, seconds, until=lambda: False):
        """Lets time pass, or until something is so: True."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not self.over():
            self.look()
            if until():
                return True
            time.sleep(EVERY)
        return until()

    def go(self, seconds):
        """To another place of the film."""
        self.ask("seek", seconds, "absolute")
        self.at, self.moved = None, time.monotonic()

    def end(self):
        """Exit status, and all it complained of."""
        if not self.over():
            self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        self.errors.close()
        return self.process.returncode, said
