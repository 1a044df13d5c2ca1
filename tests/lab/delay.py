#!/usr/bin/env python3
"""A line with a delay, a rate and a queue between two network namespaces, for kernels
without netem: two TUN devices and this process between them.

    delay.py SPACE ADDRESS ROUTER-SPACE MILLISECONDS MBIT QUEUE-OCTETS

SPACE gets the device tun0 with ADDRESS and its default route; ROUTER-SPACE a route to
ADDRESS. Each direction has the rate and the delay (one way), and drops what its queue
does not hold. Prints "ready", runs until it is told to end, then prints what it did.
"""
import collections
import fcntl
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import time

import network

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1500


def tun(space, name):
    """A TUN device that lives in a namespace, and our end of it."""
    with network.within(space):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def inside(space, *command):
    subprocess.run(["ip", "netns", "exec", space, *command], check=True)


class Way:
    """One direction: what waits for the wire, and what is on it."""

    def __init__(self, source, target, delay, rate, room):
        self.source, self.target = source, target
        self.delay, self.rate, self.room = delay, rate, room
        self.free = 0.0  # when the wire is
        self.flying = collections.deque()  # (arrives, leaves, packet)
        self.carried = self.dropped = 0

    def take(self, now):
        while True:
            try:
                packet = os.read(self.source, MTU + 100)
            except BlockingIOError:
                return
            waiting = max(self.free - now, 0) * self.rate
            if waiting + len(packet) > self.room:
                self.dropped += 1
                continue
            self.free = max(self.free, now) + len(packet) / self.rate
            self.flying.append((self.free + self.delay, packet))

    def give(self, now):
        while self.flying and self.flying[0][0] <= now:
            try:
                os.write(self.target, self.flying.popleft()[1])
                self.carried += 1
            except OSError:
                self.dropped += 1


def main():
    space, address, router, ms, mbit, room = sys.argv[1:]
    near, name = tun(space, "tun0"), "t" + address.split(".")[1]
    far = tun(router, name)
    for at, device in ((space, "tun0"), (router, name)):
        inside(at, "ip", "link", "set", device, "up", "mtu", str(MTU))
    inside(space, "ip", "address", "add", f"{address}/32", "dev", "tun0")
    inside(space, "ip", "route", "replace", "default", "dev", "tun0")
    inside(router, "ip", "route", "replace", f"{address}/32", "dev", name)
    rate = float(mbit) * 1e6 / 8
    ways = [Way(near, far, float(ms) / 1000, rate, int(room)),
            Way(far, near, float(ms) / 1000, rate, int(room))]
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    ready = selectors.DefaultSelector()
    for way in ways:
        ready.register(way.source, selectors.EVENT_READ)
    print("ready", flush=True)
    while not stop:
        due = min((way.flying[0][0] for way in ways if way.flying), default=None)
        now = time.monotonic()
        ready.select(0.2 if due is None else max(due - now, 0))
        now = time.monotonic()
        for way in ways:
            way.take(now)
            way.give(time.monotonic())
    print(json.dumps([{"carried": way.carried, "dropped": way.dropped} for way in ways]))


if __name__ == "__main__":
    main()
