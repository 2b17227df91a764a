// A map of the picture's patches as a coloured, see-through layer. The model sees the picture squashed to a square,
// so the layer is stretched over all of it.

const side = 192; // pixels of the layer; the browser stretches it smoothly
const ramp = [
  [0.0, 49, 18, 102, 0],
  [0.2, 88, 28, 135, 0.35],
  [0.45, 190, 40, 110, 0.7],
  [0.7, 244, 114, 54, 0.88],
  [1.0, 255, 236, 130, 0.96],
];

/** Paints `map` ({rows, columns, values}) into a canvas. */
export function paint(canvas, map) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(side, side);
  const field = smoothed(map);
  const { low, high } = range(field);
  const scale = high > low ? 1 / (high - low) : 0;
  field.forEach((value, i) => pixels.data.set(colour((value - low) * scale), i * 4));
  context.putImageData(pixels, 0, 0);
}

// The map at every pixel of the layer.
function smoothed({ rows, columns, values }) {
  const across = taps(columns);
  const down = taps(rows);
  return Float64Array.from({ length: side * side }, (_, i) => {
    let sum = 0;
    for (const [row, weight] of down[Math.floor(i / side)]) {
      for (const [column, share] of across[i % side]) sum += weight * share * values[row * columns + column];
    }
    return sum;
  });
}

/** The key of the words for where the map is hottest, in ninths of the picture. */
export function hottestPlace({ rows, columns, values }) {
  const at = values.indexOf(range(values).high);
  const third = (index, count) => Math.min(2, Math.floor((3 * (index + 0.5)) / count));
  return `place${third(Math.floor(at / columns), rows)}${third(at % columns, columns)}`;
}

function range(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, high };
}

// Which patches make up each pixel of a line, with their weights: a cubic B-spline, smooth
// and without overshoot.
function taps(count) {
  return Array.from({ length: side }, (_, pixel) => {
    const at = ((pixel + 0.5) * count) / side - 0.5;
    const first = Math.floor(at);
    const t = at - first;
    const weights = [(1 - t) ** 3 / 6, (3 * t ** 3 - 6 * t ** 2 + 4) / 6, (-3 * t ** 3 + 3 * t ** 2 + 3 * t + 1) / 6, t ** 3 / 6];
    return weights.map((weight, i) => [Math.max(0, Math.min(count - 1, first - 1 + i)), weight]);
  });
}

function colour(value) {
  const v = Math.max(0, Math.min(value, 1));
  const upper = Math.max(1, ramp.findIndex(([stop]) => stop >= v));
  const [from, to] = [ramp[upper - 1], ramp[upper]];
  const t = (v - from[0]) / (to[0] - from[0]);
  const [r, g, b, a] = [1, 2, 3, 4].map((i) => from[i] + t * (to[i] - from[i]));
  return [r, g, b, a * 255];
}
