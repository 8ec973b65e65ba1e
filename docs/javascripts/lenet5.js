// LeNet-5 as pure functions: forward with every layer kept, one unit's way back to the pixels, its
// sum written out, and the preprocessing that made MNIST. Sums are taken in float64 and rounded to
// float32 once a layer, so that each layer is PyTorch's but for the last bits.

export const SIDE = 32 // of the network's input, in pixels
export const AMPLITUDE = 1.7159 // of the squashing function, A tanh(S a)
const SLOPE = 2 / 3
const PAPER = -0.1
const INK = 1.175

// Operation, side of the window and stride of every layer, by the names of the Python modules. A
// full connection is a convolution of maps that have one unit each.
export const PLAN = [
  { name: "conv1", kind: "conv", side: 5, stride: 1 },
  { name: "tanh1", kind: "tanh" },
  { name: "pool1", kind: "pool", side: 2, stride: 2 },
  { name: "tanh2", kind: "tanh" },
  { name: "conv2", kind: "conv", side: 5, stride: 1 },
  { name: "tanh3", kind: "tanh" },
  { name: "pool2", kind: "pool", side: 2, stride: 2 },
  { name: "tanh4", kind: "tanh" },
  { name: "conv3", kind: "conv", side: 5, stride: 1 },
  { name: "tanh5", kind: "tanh" },
  { name: "linear", kind: "conv", side: 1, stride: 1 },
  { name: "tanh6", kind: "tanh" },
  { name: "rbf", kind: "rbf", side: 1, stride: 1 },
]
const PLACE = Object.fromEntries(PLAN.map(({ name }, index) => [name, index]))

/** The tensors of the file that the manifest describes, by name: little endian, as machines are. */
export function readWeights(manifest, buffer) {
  if (buffer.byteLength !== manifest.bytes)
    throw new Error(`${manifest.file} has ${buffer.byteLength} bytes, not ${manifest.bytes}`)
  const numbers = new Float32Array(buffer)
  return Object.fromEntries(
    manifest.tensors.map(({ name, shape, offset }) => {
      const start = offset / 4
      return [name, numbers.subarray(start, start + shape.reduce((a, b) => a * b, 1))]
    }),
  )
}

/** All layers of an input of 32 x 32 numbers: { maps, side, data } by name, and `input`. */
export function forward(weights, pixels) {
  let below = { maps: 1, side: SIDE, data: Float32Array.from(pixels) }
  const layers = { input: below }
  for (const step of PLAN) layers[step.name] = below = FORWARD[step.kind](below, step, weights)
  return layers
}

const FORWARD = {
  conv(below, { name, side: kernel }, weights) {
    const weight = weights[`${name}.weight`]
    const bias = weights[`${name}.bias`]
    const maps = bias.length
    const side = below.side - kernel + 1
    const data = new Float32Array(maps * side * side)
    const fan = below.maps * kernel * kernel
    for (let map = 0, out = 0; map < maps; map++)
      for (let row = 0; row < side; row++)
        for (let column = 0; column < side; column++, out++) {
          let sum = bias[map]
          let w = map * fan
          for (let source = 0; source < below.maps; source++)
            for (let i = 0; i < kernel; i++) {
              let x = (source * below.side + row + i) * below.side + column
              for (let j = 0; j < kernel; j++) sum += weight[w++] * below.data[x++]
            }
          data[out] = sum
        }
    return { maps, side, data }
  },
  pool({ maps, side: wide, data: x }) {
    const side = wide / 2
    const data = new Float32Array(maps * side * side)
    for (let out = 0; out < data.length; out++) {
      // Maps lie below one another, so that a row of all of them is a row of one.
      const first = Math.floor(out / side) * 2 * wide + (out % side) * 2
      data[out] = (x[first] + x[first + 1] + x[first + wide] + x[first + wide + 1]) / 4
    }
    return { maps, side, data }
  },
  tanh: ({ maps, side, data }) => ({
    maps,
    side,
    data: data.map((a) => AMPLITUDE * Math.tanh(SLOPE * a)),
  }),
  rbf({ data: x }, { name }, weights) {
    const codes = weights[`${name}.prototypes`]
    const maps = codes.length / x.length
    const distance = (map) =>
      x.reduce((sum, value, j) => sum + (value - codes[map * x.length + j]) ** 2, 0)
    return { maps, side: 1, data: Float32Array.from({ length: maps }, (_, map) => distance(map)) }
  },
}

/**
 * The projection of unit `index` of layer `name`: a signal of 1 sent back to the pixels. At a tanh
 * the "agreeing" rule lets pass what supports the activation as it was, of either sign; all else is
 * the derivative.
 */
export function backward(weights, layers, name, index) {
  let signal = new Float32Array(layers[name].data.length)
  signal[index] = 1
  for (let place = PLACE[name]; place >= 0; place--) {
    const step = PLAN[place]
    const below = place ? layers[PLAN[place - 1].name] : layers.input
    signal = Float32Array.from(BACKWARD[step.kind](signal, below, step, weights, layers))
  }
  return signal
}

const BACKWARD = {
  conv(signal, below, { name, side: kernel }, weights, layers) {
    const weight = weights[`${name}.weight`]
    const { side } = layers[name]
    const fan = below.maps * kernel * kernel
    const back = new Float64Array(below.data.length)
    for (let index = 0; index < signal.length; index++) {
      if (signal[index] === 0) continue
      const map = Math.floor(index / (side * side))
      const row = Math.floor(index / side) % side
      const column = index % side
      let w = map * fan
      for (let source = 0; source < below.maps; source++)
        for (let i = 0; i < kernel; i++) {
          let x = (source * below.side + row + i) * below.side + column
          for (let j = 0; j < kernel; j++) back[x++] += signal[index] * weight[w++]
        }
    }
    return back
  },
  pool(signal, { side: wide }) {
    const side = wide / 2
    const back = new Float64Array(signal.length * 4)
    for (let index = 0; index < signal.length; index++) {
      const first = Math.floor(index / side) * 2 * wide + (index % side) * 2
      for (const x of [first, first + 1, first + wide, first + wide + 1])
        back[x] = signal[index] / 4
    }
    return back
  },
  // The rule is for tanh itself: the amplitude and the slope around it are factors like others.
  tanh: (signal, below) =>
    signal.map((g, index) => (g * below.data[index] > 0 ? AMPLITUDE * SLOPE * g : 0)),
  rbf(signal, { data: x }, { name }, weights) {
    const codes = weights[`${name}.prototypes`]
    const map = signal.indexOf(1) // nothing lies above this layer: the unit itself
    return x.map((value, j) => 2 * (value - codes[map * x.length + j]))
  },
}

/** Side, top and left of what a unit can see of the 32 x 32 pixels. */
export function field(layers, name, index) {
  const { side } = layers[name]
  let [size, top, left] = [1, Math.floor(index / side) % side, index % side]
  for (let place = PLACE[name]; place >= 0; place--) {
    const { kind, side: window, stride } = PLAN[place]
    if (kind === "tanh") continue
    size = (size - 1) * stride + window
    top *= stride
    left *= stride
  }
  return { size, top, left }
}

/**
 * How a unit gets its value. For each map below: the inputs in its window, the kernel, and their
 * products, which add up with the bias to `sum`; an average has kernels of 1/4, and a distance has
 * squared differences for products. `output` is what the layer above sees.
 */
export function explain(weights, layers, name, index) {
  const place = PLACE[name]
  const { kind, side: window, stride } = PLAN[place]
  const below = layers[PLAN[place - 1]?.name ?? "input"]
  const { side, data } = layers[name]
  const map = Math.floor(index / (side * side))
  const row = (Math.floor(index / side) % side) * stride
  const column = (index % side) * stride
  const sources = kind === "pool" ? [map] : Array.from({ length: below.maps }, (_, n) => n)
  const kernels = weights[kind === "rbf" ? `${name}.prototypes` : `${name}.weight`]
  const area = window * window
  const parts = sources.map((source, number) => {
    const first = (map * sources.length + number) * area
    const kernel = kind === "pool" ? new Float32Array(4).fill(1 / 4) : kernels.subarray(first, first + area)
    const patch = Float32Array.from({ length: area }, (_, k) => {
      const y = row + Math.floor(k / window)
      return below.data[(source * below.side + y) * below.side + column + (k % window)]
    })
    const products = Float64Array.from(patch, (x, k) =>
      kind === "rbf" ? (x - kernel[k]) ** 2 : x * kernel[k],
    )
    return { source, patch, kernel, products }
  })
  const total = parts.reduce((sum, { products }) => products.reduce((a, b) => a + b, sum), 0)
  const bias = kind === "conv" ? weights[`${name}.bias`][map] : 0
  const above = PLAN[place + 1]
  const output = above ? layers[above.name].data[index] : data[index]
  return { kind, map, row, column, window, parts, total, bias, sum: data[index], output }
}

// Preprocessing: strokes are lists of [x, y] in 0..1, ink is 0 to 1 on a grid.

const BOX = 20 // pixels: the longer side of every MNIST digit
const FIELD = 28
const GRAIN = 4 // cells of the grid to a pixel of the box, along each side
const PEN = 0.065 // radius: a share of the drawing's longer side, whatever its size
const LEAST = 0.05 // a smaller drawing is a dot, which has no shape

/** The box around the points of strokes, or null where there are none. */
export function boundsOf(strokes) {
  const points = strokes.flat()
  if (!points.length) return null
  const [left, top] = points.reduce(([a, b], [x, y]) => [Math.min(a, x), Math.min(b, y)])
  const [right, bottom] = points.reduce(([a, b], [x, y]) => [Math.max(a, x), Math.max(b, y)])
  return { left, right, top, bottom }
}

/** The ink of strokes on a grid that just holds it, or null for a dot: { width, height, data }. */
export function inkOf(strokes) {
  const { left, right, top, bottom } = boundsOf(strokes) ?? { left: 0, right: 0, top: 0, bottom: 0 }
  const extent = Math.max(right - left, bottom - top)
  if (extent < LEAST) return null
  const pen = PEN * extent
  const scale = (BOX * GRAIN) / (extent + 2 * pen)
  const width = Math.ceil((right - left + 2 * pen) * scale)
  const height = Math.ceil((bottom - top + 2 * pen) * scale)
  const data = new Float64Array(width * height)
  const onGrid = ([x, y]) => [(x - left + pen) * scale, (y - top + pen) * scale]
  for (const stroke of strokes)
    stroke.forEach((point, number) =>
      drawSegment({ width, height, data }, onGrid(stroke[Math.max(number - 1, 0)]), onGrid(point), pen * scale),
    )
  return { width, height, data }
}

/** A line with round ends, darkest of what lies on one another; its edge is one cell wide. */
function drawSegment({ width, height, data }, [x1, y1], [x2, y2], radius) {
  const reach = radius + 1
  const firstRow = Math.max(0, Math.floor(Math.min(y1, y2) - reach))
  const lastRow = Math.min(height - 1, Math.ceil(Math.max(y1, y2) + reach))
  const first = Math.max(0, Math.floor(Math.min(x1, x2) - reach))
  const last = Math.min(width - 1, Math.ceil(Math.max(x1, x2) + reach))
  const [dx, dy] = [x2 - x1, y2 - y1]
  const length = dx * dx + dy * dy
  for (let row = firstRow; row <= lastRow; row++)
    for (let column = first; column <= last; column++) {
      const [x, y] = [column + 0.5 - x1, row + 0.5 - y1]
      const along = length ? Math.min(1, Math.max(0, (x * dx + y * dy) / length)) : 0
      const distance = Math.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
      const ink = Math.min(1, Math.max(0, radius + 0.5 - distance))
      if (ink > data[row * width + column]) data[row * width + column] = ink
    }
}

/**
 * Ink as MNIST has it: its box scaled to 20 pixels on the longer side, and placed so that the
 * centre of its mass comes next to the centre of a field of 28, within a frame of 32 x 32.
 *
 * Returns the network's input, and the box that the ink has in it: { pixels, top, left, width,
 * height, moved: [right, down] }, moved from where the box alone would be in the middle.
 */
export function centred({ width, height, data }) {
  const inked = (row, column) => data[row * width + column] > 0
  const upTo = (count) => Array.from({ length: count }, (_, place) => place)
  const [downwards, sidewards] = [upTo(height), upTo(width)]
  const rows = span(height, (row) => sidewards.some((column) => inked(row, column)))
  const columns = span(width, (column) => downwards.some((row) => inked(row, column)))
  if (!rows[1]) return null
  const scale = BOX / Math.max(columns[1], rows[1])
  const across = shares(columns, Math.max(1, Math.floor(columns[1] * scale + 0.5)))
  const down = shares(rows, Math.max(1, Math.floor(rows[1] * scale + 0.5)))
  const box = down.map((ys) =>
    across.map((xs) => {
      let sum = 0
      for (const [y, high] of ys) for (const [x, wide] of xs) sum += high * wide * data[y * width + x]
      return sum
    }),
  )
  let [mass, x, y] = [0, 0, 0]
  box.forEach((line, row) =>
    line.forEach((ink, column) => {
      mass += ink
      x += ink * (column + 0.5)
      y += ink * (row + 0.5)
    }),
  )
  const place = (centre, length) =>
    Math.min(FIELD - length, Math.max(0, Math.floor(FIELD / 2 - centre + 0.5)))
  const margin = (SIDE - FIELD) / 2
  const left = place(x / mass, across.length) + margin
  const top = place(y / mass, down.length) + margin
  const pixels = new Float32Array(SIDE * SIDE).fill(PAPER)
  box.forEach((line, row) =>
    line.forEach((ink, column) => {
      pixels[(top + row) * SIDE + left + column] = PAPER + (INK - PAPER) * ink
    }),
  )
  const moved = [left - (SIDE - across.length) / 2, top - (SIDE - down.length) / 2]
  return { pixels, top, left, width: across.length, height: down.length, moved }
}

/** First and number of the places, of so many, from the first that is inked to the last. */
function span(count, isInked) {
  let [first, last] = [0, count - 1]
  while (first < count && !isInked(first)) first++
  while (last > first && !isInked(last)) last--
  return [first, first < count ? last - first + 1 : 0]
}

/** For each of `count` pixels the cells of a span that it covers, each with its share of it. */
function shares([first, length], count) {
  const size = length / count
  return Array.from({ length: count }, (_, pixel) => {
    const [start, end] = [pixel * size, (pixel + 1) * size]
    const cells = []
    for (let cell = Math.floor(start); cell < Math.min(end, length); cell++) {
      const overlap = Math.min(end, cell + 1) - Math.max(start, cell)
      if (overlap > 0) cells.push([first + cell, overlap / size])
    }
    return cells
  })
}

/** Which class is nearest, how near, and whether that is too far to be an answer. */
export function answer(layers, limit) {
  const penalties = [...layers.rbf.data]
  const distance = Math.min(...penalties)
  return { digit: penalties.indexOf(distance), distance, refused: distance > limit, penalties }
}
