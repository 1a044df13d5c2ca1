// Pictures: what of a file is there, and rates over time.

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const drawn = new WeakMap(); // a canvas: what is on it
const dark = matchMedia("(prefers-color-scheme: dark)");

// A canvas in device pixels, cleared; null while it is not shown, and when this is on it already.
function begin(canvas, what) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (!width || !height) return null;
  const key = JSON.stringify([what, width, height, document.documentElement.dataset.theme, dark.matches]);
  if (drawn.get(canvas) === key) return null;
  drawn.set(canvas, key);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// The seek bar: holes, verified parts, what the browser holds, and where we are.
// Parts are of the file's octets; a film's time runs along them closely enough.
export function bar(canvas, swarm, video) {
  const held = Array.from(video.buffered, (_, i) => [video.buffered.start(i), video.buffered.end(i)]);
  const at = begin(canvas, [swarm?.length, swarm?.ranges, video.duration, held]);
  if (!at) return;
  const { context, width, height } = at;
  context.fillStyle = colour("--hole");
  context.fillRect(0, 0, width, height);
  context.fillStyle = colour("--have");
  for (const [first, last] of (swarm?.length && swarm.ranges) || [])
    context.fillRect((first / swarm.length) * width, 0, Math.max(1, ((last - first + 1) / swarm.length) * width), height);
  if (!Number.isFinite(video.duration) || !video.duration) return;
  context.fillStyle = colour("--ink");
  for (const [first, last] of held) {
    const from = (first / video.duration) * width;
    context.fillRect(from, height * 0.7, Math.max(1, (last / video.duration) * width - from), height * 0.3);
  }
}

// The piece map: a grid of equal parts of the file, full ones solid.
export function pieces(canvas, swarm) {
  const at = begin(canvas, [swarm.length, swarm.ranges]);
  if (!at) return;
  const { context, width, height } = at;
  const side = Math.max(4, Math.round(8 * (window.devicePixelRatio || 1)));
  const columns = Math.floor(width / side);
  const rows = Math.floor(height / side);
  const cells = columns * rows;
  const filled = new Float64Array(cells);
  const size = swarm.length / cells;
  for (const [first, last] of swarm.ranges) {
    const end = Math.min(cells - 1, Math.floor(last / size));
    for (let i = Math.floor(first / size); i <= end; i++)
      filled[i] += (Math.min(last + 1, (i + 1) * size) - Math.max(first, i * size)) / size;
  }
  const hole = colour("--hole");
  const have = colour("--have");
  for (let i = 0; i < cells; i++) {
    const x = (i % columns) * side;
    const y = Math.floor(i / columns) * side;
    context.globalAlpha = 1;
    context.fillStyle = hole;
    context.fillRect(x, y, side - 1, side - 1);
    context.globalAlpha = Math.min(1, filled[i]);
    context.fillStyle = have;
    context.fillRect(x, y, side - 1, side - 1);
  }
  context.globalAlpha = 1;
}

// Two minutes of a rate, a point a second, newest at the right.
export function chart(canvas, values, say) {
  const points = 120;
  const top = Math.max(say(0).includes("B") ? 1024 : 10, ...values);
  const at = begin(canvas, [values, say(top)]);
  if (!at) return;
  const { context, width, height } = at;
  const x = (i) => ((points - values.length + i) / (points - 1)) * width;
  const y = (value) => height - 2 - (value / top) * (height - 6);
  context.strokeStyle = colour("--line");
  for (const part of [0.5, 1]) {
    context.beginPath();
    context.moveTo(0, y(top * part));
    context.lineTo(width, y(top * part));
    context.stroke();
  }
  context.fillStyle = colour("--soft");
  context.font = `${11 * (window.devicePixelRatio || 1)}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.fillText(say(top), 2, y(top) + 2);
  if (!values.length) return;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.strokeStyle = colour("--have");
  context.lineWidth = 2 * (window.devicePixelRatio || 1);
  context.stroke();
  context.lineTo(x(values.length - 1), height);
  context.lineTo(x(0), height);
  context.globalAlpha = 0.2;
  context.fillStyle = colour("--have");
  context.fill();
  context.globalAlpha = 1;
  context.lineWidth = 1;
}

// A QR code of rows of "1" (dark) and "0", with the light border that readers need.
export function code(rows, label) {
  const border = 4, side = rows.length + 2 * border;
  const make = (name, attributes) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    return e;
  };
  const dark = rows.flatMap((row, y) => [...row].flatMap((c, x) => (c === "1" ? `M${x + border} ${y + border}h1v1h-1z` : [])));
  const svg = make("svg", { class: "code", viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": label });
  svg.append(make("rect", { width: side, height: side, fill: "#fff" }), make("path", { d: dark.join(""), fill: "#000" }));
  return svg;
}
