#!/usr/bin/python3
"""Somebody watches a film with mpv, and the way to it gets worse: real programs, each in a
network namespace of its own.

    worse.py [--only slow|dying|leaving] CULVERT CULVERT-DHT

- slow: a relay of a way in use comes behind a line that carries less than the film needs, and
  late: once of the viewer's way, once of the seeder's;
- dying: a relay of a way in use is killed (-9), likewise;
- leaving: a seeder goes while another is there, once as one who closes it and once killed;
  then the last one goes, and the film stands still until it is there again.

The seeder gives 1.3 times what the film needs; what came faster the player skips, so that it
lives on what comes now. Prints after each the longest time that the picture stood still, which
depends on the machine. The film has to go on after each of them, and mpv to play it to its end
without a complaint.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "browser"))
import timecode  # noqa: E402
from player import BUFFER, Player  # noqa: E402
from scene import SECONDS, Failed, perform  # noqa: E402

RELAYS = 12
KBIT = 800  # of the film
LINE = ("250", "0.4", "65536")  # milliseconds, Mbit/s, octets of the queue: of a slow relay
ROUND = 2 ** timecode.BITS // timecode.RATE + 1  # seconds, in which the numbers come round once
ROUNDS = 12
AFTER = 10  # seconds of the film that must come after each of them


def film(path):
    """Minutes of it for the price of one."""
    one = path.with_name("one.mp4")
    timecode.film(one, ROUND, KBIT)
    subprocess.run(["ffmpeg", "-v", "error", "-stream_loop", str(ROUNDS - 1), "-i", one, "-c", "copy",
                    "-movflags", "+faststart", path], check=True)
    one.unlink()


class Worse:
    def __init__(self, lab):
        self.lab, self.lines = lab, []

    def run(self, only):
        lab = self.lab
        lab.bring_up(RELAYS, "seeder", "twin", "viewer")
        self.film = lab.folder / "film.mp4"
        film(self.film)
        self.size = self.film.stat().st_size
        self.rate = self.size / (ROUND * ROUNDS)
        uri = self.share("seeder")
        self.player = Player(lab.net.hosts["viewer"], lab.folder, lab.watch(uri))
        try:
            self.scenes(uri, only)
        finally:
            status, said = self.player.end()
            for line in self.lines:
                line.kill()
                line.wait()
        if status or said:
            raise Failed(f"mpv ended with {status}: {said}")

    def scenes(self, uri, only):
        if not self.player.play(SECONDS, lambda: self.player.at):
            raise Failed("the film never began")
        if only in (None, "slow"):
            for who, hop in (("viewer", 1), ("seeder", 0)):
                self.scene(f"slow relay {hop + 1} of the {who}'s", lambda: self.slow(who, hop))
        if only in (None, "dying"):
            for who, hop in (("viewer", 0), ("seeder", 2)):
                self.scene(f"dying relay {hop + 1} of the {who}'s", lambda: self.dies(who, hop))
        if only in (None, "leaving"):
            self.seeders_leave(uri)
        self.last_minute()

    def seeders_leave(self, uri):
        self.share("twin", uri)
        self.scene("one of two seeders leaves", lambda: self.leaves("seeder", signal.SIGINT))
        self.share("seeder", uri)
        self.scene("one of two seeders is killed", lambda: self.leaves("twin", signal.SIGKILL))
        self.scene("the last seeder leaves and comes back", lambda: self.comes_back(uri))

    def last_minute(self):
        """What is left is fetched now, or never would be: a player jumps there."""
        self.player.go(ROUND * ROUNDS - 1.5 * BUFFER)
        if not self.player.play(SECONDS, self.player.over):
            raise Failed(f"the film does not end: {self.player.at}")

    def share(self, name, known=None):
        """Its link, the same for everybody who has the film."""
        uri = self.lab.share(name, self.film, int(self.rate * 1.3))
        if known not in (None, uri):
            raise Failed(f"the same film has another link: {known}, {uri}")
        return uri

    def here(self):
        """Seconds of the film that are there without a hole."""
        return self.lab.here() / self.rate

    def goes_on(self, seconds):
        """So much of the film is shown."""
        begun = self.player.at or 0.0
        while (self.player.at or 0.0) < begun + seconds:
            if not self.player.play(1) and self.player.over():
                raise Failed(f"mpv is gone at {self.player.at}")
            if self.player.waits() > SECONDS:
                raise Failed(f"the picture stands still at {self.player.at}, {self.here():.1f} s are there")

    def scene(self, name, happens):
        """What came faster than it was played is not to help with what follows."""
        self.goes_on(BUFFER)
        here = self.here()
        if here - self.player.at > 2 * BUFFER:
            self.player.go(here - 2 * BUFFER)
            self.goes_on(BUFFER)
        self.player.worst = 0.0
        ahead = self.here() - self.player.at
        happens()
        self.goes_on(AFTER + ahead)
        print(json.dumps({"scene": name, "ahead_s": round(ahead, 1),
                          "stood_s": round(self.player.worst, 2)}), flush=True)

    def relay(self, who, hop):
        limit = time.monotonic() + SECONDS
        while not (found := self.lab.on_way(who, hop)):
            if time.monotonic() > limit:
                raise Failed(f"no way of the {who}")
            self.player.play(0.5)
        return found

    def slow(self, who, hop):
        """From now on."""
        host = self.lab.net.hosts[self.relay(who, hop)]
        line = subprocess.Popen([sys.executable, str(HERE / "delay.py"), host.space, host.address,
                                 self.lab.net.router, *LINE], stdout=subprocess.PIPE, text=True)
        self.lines.append(line)
        if line.stdout.readline() != "ready\n":
            raise Failed("no line")

    def dies(self, who, hop):
        name = self.relay(who, hop)
        self.lab.programs[name].stop()
        self.lab.start(name, "relay", 7000)

    def leaves(self, name, how):
        self.lab.programs[name].stop(how)

    def comes_back(self, uri):
        self.leaves("seeder", signal.SIGINT)
        if not self.player.play(SECONDS, lambda: self.player.waits() > 3):
            raise Failed("the film goes on without anybody who gives it")
        self.share("seeder", uri)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("slow", "dying", "leaving"))
    parser.add_argument("culvert")
    parser.add_argument("dht")
    args = parser.parse_args()
    perform("worse", lambda lab: Worse(lab).run(args.only), args.culvert, args.dht)


if __name__ == "__main__":
    main()
