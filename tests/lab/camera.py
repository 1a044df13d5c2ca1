"""A camera whose pictures say which one they are, each given to an encoder at its time; and
somebody who sees how far behind it a player is."""
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "browser"))
import timecode  # noqa: E402

SIZE = timecode.WIDTH * timecode.HEIGHT


class Camera:
    """MPEG-TS comes out of `encoder.stdout`; a key frame a second."""

    def __init__(self, rate=timecode.RATE, kbit=800):
        self.rate = rate
        bits = f"{kbit}k"
        self.encoder = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-video_size",
             f"{timecode.WIDTH}x{timecode.HEIGHT}", "-framerate", str(rate), "-i", "-", "-c:v",
             "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(rate), "-b:v", bits,
             "-minrate", bits, "-maxrate", bits, "-bufsize", bits, "-x264-params", "nal-hrd=cbr",
             "-pix_fmt", "yuv420p", "-f", "mpegts", "-flush_packets", "1", "-muxdelay", "0",
             "-muxpreload", "0", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.start = time.time()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        count = 0
        try:
            while True:
                time.sleep(max(self.start + count / self.rate - time.time(), 0))
                self.encoder.stdin.write(timecode.picture(count))
                self.encoder.stdin.flush()
                count += 1
        except (OSError, ValueError):
            pass

    def end(self):
        self.encoder.kill()
        self.encoder.wait()


def behind(number, start, rate=timecode.RATE):
    """Seconds since the camera saw a picture of that number; the numbers wrap."""
    return (time.time() - start - number / rate) % (2 ** timecode.BITS / rate)


class Watcher:
    """ffmpeg as a player of a stream or playlist; the numbers that it shows."""

    def __init__(self, link, *options):
        self.player = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-nostdin", "-fflags", "nobuffer", "-flags", "low_delay", "-probesize",
             "65536", "-analyzeduration", "0", *options, "-i", link, "-f", "rawvideo", "-pix_fmt",
             "gray", "-"], stdout=subprocess.PIPE)

    def numbers(self):
        while len(grey := self.player.stdout.read(SIZE)) == SIZE:
            number = timecode.read(grey)
            if number is not None:
                yield number

    def end(self):
        self.player.kill()
        self.player.wait()
        self.player.stdout.close()
