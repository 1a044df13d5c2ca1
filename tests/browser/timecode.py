"""Films that say in each picture which one it is: BITS squares for its number, lowest
first, and below them the same inverted, so that no accident reads as a number."""
import subprocess

WIDTH, HEIGHT, RATE, BITS = 320, 180, 25, 10
TOP, SIDE, HALF = 140, 32, 20  # of the code in the picture


def burn():
    """ffmpeg's filter that draws the number of each picture into it."""
    parts = []
    for bit in range(BITS):
        for row in (0, 1):
            parts += [f"drawbox=x={SIDE * bit}:y={TOP + HALF * row}:w={SIDE}:h={HALF}:t=fill:"
                      f"color={colour}:enable='eq(mod(floor(n/{2 ** bit}),2),{value})'"
                      for value, colour in ((1 - row, "white"), (row, "black"))]
    return ",".join(parts)


def film(path, seconds=40, kbits=600):
    """Moving, with sound and an index in front; a key frame a second."""
    rate = f"{kbits}k"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
                    f"testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE}:duration={seconds}", "-f", "lavfi",
                    "-i", f"sine=duration={seconds}", "-vf", burn(), "-c:v", "libx264", "-preset",
                    "ultrafast", "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize",
                    rate, "-x264-params", "nal-hrd=cbr", "-g", str(RATE), "-pix_fmt", "yuv420p",
                    "-c:a", "aac", "-movflags", "+faststart", str(path)], check=True)


def middle(number):
    """A time in which picture `number` is shown."""
    return (number + 0.5) / RATE


def read(grey):
    """The number in a picture of WIDTH x HEIGHT octets; None: there is none."""
    number = 0
    for bit in range(BITS):
        upper, lower = (grey[(TOP + HALF * row + HALF // 2) * WIDTH + SIDE * bit + SIDE // 2]
                        for row in (0, 1))
        if abs(upper - lower) < 96:
            return None
        number |= (upper > lower) << bit
    return number


# The same of a <video> `v`, in the page; null: there is none.
READ = f"""
    const c = window.timecode ??= new OffscreenCanvas({WIDTH}, {HEIGHT}).getContext("2d",
        {{willReadFrequently: true}});
    c.drawImage(v, 0, 0, {WIDTH}, {HEIGHT});
    const d = c.getImageData(0, 0, {WIDTH}, {HEIGHT}).data;
    const at = (x, y) => d[4 * (y * {WIDTH} + x)];
    let number = 0;
    for (let bit = 0; bit < {BITS}; bit++) {{
        const x = {SIDE} * bit + {SIDE // 2};
        const upper = at(x, {TOP + HALF // 2}), lower = at(x, {TOP + HALF + HALF // 2});
        if (Math.abs(upper - lower) < 96) return null;
        if (upper > lower) number |= 1 << bit;
    }}
    return number;
"""


def picture(number):
    """Grey octets of a picture that says `number`, for encoders fed from here."""
    rows = [bytearray([96]) * WIDTH for _ in range(2)]
    for bit in range(BITS):
        on = number >> bit & 1
        for row, value in enumerate((on, 1 - on)):
            rows[row][SIDE * bit:SIDE * (bit + 1)] = bytes([255 * value]) * SIDE
    shade = bytes((x + number) & 127 for x in range(WIDTH))  # moves
    return (shade * TOP + bytes(rows[0]) * HALF + bytes(rows[1]) * HALF)[:WIDTH * HEIGHT]
