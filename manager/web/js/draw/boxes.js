// Tasks as boxes on a canvas: a shape and a colour for each mark, so that thousands are drawn in a few milliseconds.

// Shapes are drawn for a box of this size, and scaled.
const SIZE = 10;
const GAP = 3;
const STEP = SIZE + GAP;

/** @typedef {{width: number, size: number}} Room how wide the canvas is, and each box on it */

/** @typedef {{id: string, service: string, slot: number, node: string, mark: string, error: string}} Box */

/** How many boxes are in a row. @param {Room} room */
function perRow({ width, size }) {
  const scale = size / SIZE;
  return Math.max(1, Math.floor((width / scale + GAP) / STEP));
}

/** How high so many boxes are, in pixels. @param {number} count @param {Room} room */
export function heightOf(count, room) {
  return Math.ceil(((Math.max(1, Math.ceil(count / perRow(room))) * STEP - GAP) * room.size) / SIZE);
}

/** Which box is at a point; -1 for none. @param {number} x @param {number} y @param {number} count @param {Room} room */
export function boxAt(x, y, count, room) {
  const [columns, step] = [perRow(room), (STEP * room.size) / SIZE];
  const [column, row] = [Math.floor(x / step), Math.floor(y / step)];
  const at = row * columns + column;
  return column >= 0 && row >= 0 && column < columns && at < count ? at : -1;
}

/**
 * @param {HTMLCanvasElement} canvas @param {Box[]} boxes @param {Room} room
 * @param {{colour: (box: Box) => string, surface: string}} how
 */
export function draw(canvas, boxes, room, { colour, surface }) {
  const columns = perRow(room);
  const height = heightOf(boxes.length, room);
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(room.width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale((scale * room.size) / SIZE, (scale * room.size) / SIZE);
  context.lineWidth = 1.5;
  for (const [n, box] of boxes.entries()) {
    const [x, y] = [(n % columns) * STEP, Math.floor(n / columns) * STEP];
    context.fillStyle = context.strokeStyle = colour(box);
    (SHAPES[box.mark] ?? full)(context, x, y, surface);
  }
}

/** @typedef {(context: CanvasRenderingContext2D, x: number, y: number, surface: string) => void} Shape */

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y */
function full(context, x, y) {
  context.beginPath();
  context.roundRect(x, y, SIZE, SIZE, 2);
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y */
function hollow(context, x, y) {
  context.beginPath();
  context.roundRect(x + 0.75, y + 0.75, SIZE - 1.5, SIZE - 1.5, 2);
  context.stroke();
}

/** @type {Shape} */
function half(context, x, y) {
  hollow(context, x, y);
  context.fillRect(x + 1, y + SIZE / 2, SIZE - 2, SIZE / 2 - 1);
}

/** @type {Shape} */
function crossed(context, x, y, surface) {
  full(context, x, y);
  context.strokeStyle = surface;
  cross(context, x, y, 3);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} inset */
function cross(context, x, y, inset) {
  context.beginPath();
  context.moveTo(x + inset, y + inset);
  context.lineTo(x + SIZE - inset, y + SIZE - inset);
  context.moveTo(x + SIZE - inset, y + inset);
  context.lineTo(x + inset, y + SIZE - inset);
  context.stroke();
}

/** @type {Record<string, Shape>} */
const SHAPES = {
  running: full,
  starting: half,
  waiting: hollow,
  failed: crossed,
  lost: (context, x, y) => cross(context, x, y, 1),
  stopping: (context, x, y) => {
    context.setLineDash([2, 2]);
    hollow(context, x, y);
    context.setLineDash([]);
  },
  completed: (context, x, y, surface) => {
    full(context, x, y);
    context.strokeStyle = surface;
    context.beginPath();
    context.moveTo(x + 2.5, y + 5.2);
    context.lineTo(x + 4.4, y + 7.2);
    context.lineTo(x + 7.8, y + 3);
    context.stroke();
  },
};

/** A colour of its own for each service: the same one every time. @param {string} id @param {boolean} isDark */
export function colourOf(id, isDark) {
  let hash = 7;
  for (const letter of id) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return `hsl(${(hash * 137) % 360} ${isDark ? 55 : 60}% ${isDark ? 62 : 42}%)`;
}
