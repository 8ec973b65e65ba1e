// "Draw a digit": the published LeNet-5 runs while one draws. The weights are fetched when somebody
// first touches the paper or the maps; until then an example is shown, whose maps are one small
// picture.
import { AMPLITUDE, SIDE, answer, backward, boundsOf, centred, explain, field, forward, inkOf, readWeights } from "./lenet5.js"

// What is shown of each layer: outputs as the next layer sees them, all on one scale. `grid` is how
// units without places are laid out.
const SHOWN = [
  { layer: "conv1", output: "tanh1", maps: 6, side: 28, paper: "C1" },
  { layer: "pool1", output: "tanh2", maps: 6, side: 14, paper: "S2" },
  { layer: "conv2", output: "tanh3", maps: 16, side: 10, paper: "C3" },
  { layer: "pool2", output: "tanh4", maps: 16, side: 5, paper: "S4" },
  { layer: "conv3", output: "tanh5", maps: 120, side: 1, paper: "C5", grid: [30, 4] },
  { layer: "linear", output: "tanh6", maps: 84, side: 1, paper: "F6", grid: [7, 12] },
  { layer: "rbf", output: "rbf", maps: 10, side: 1, paper: "output" },
]
const BITMAP = [7, 12]
const PEN = 0.042 // radius on the paper, of its side: what a digit of usual size gets in its box
const STEP = 1 / 28 // of the pen that arrow keys move
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
const FARTHEST = 15 // the root of a distance that fills its bar
const ZERO = 128
// As internals/figures/inks.py: dark blue, mid grey at zero, pale amber.
const RAMP = [[8, 20, 64], [52, 88, 150], [ZERO, ZERO, ZERO], [222, 164, 84], [255, 240, 204]]

const SHADES = 512 // of either sign
const COLOURS = Array.from({ length: 2 * SHADES + 1 }, (_, shade) => {
  const place = (2 * shade) / SHADES
  const stop = Math.min(3, Math.floor(place))
  return RAMP[stop].map((low, channel) => Math.round(low + (RAMP[stop + 1][channel] - low) * (place - stop)))
})

function signed(value, scale) {
  const share = scale ? Math.max(-1, Math.min(1, value / scale)) : 0
  return COLOURS[Math.round((share + 1) * SHADES)]
}

const number = (value, digits = 3) =>
  (value < 0 ? "−" : "") + (Math.abs(value) >= 100 ? Math.abs(value).toFixed(0) : Math.abs(value).toPrecision(digits))
const fixed = (value) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(3)

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined) made.setAttribute(name, value)
  made.append(...children)
  return made
}

/** A small picture of units, one pixel each, with a mark that can lie around some of them. */
class Tile {
  constructor(columns, rows, attributes = {}) {
    this.columns = columns
    this.rows = rows
    this.canvas = element("canvas", { width: columns, height: rows, "aria-hidden": "true" })
    this.mark = element("i", { hidden: "" })
    const style = `--columns:${columns};--rows:${rows}`
    this.root = element("span", { class: "dd-tile", style, ...attributes }, this.canvas, this.mark)
    this.context = this.canvas.getContext("2d")
  }

  paint(colour) {
    const image = this.context.createImageData(this.columns, this.rows)
    image.data.fill(255)
    for (let unit = 0; unit < this.columns * this.rows; unit++) image.data.set(colour(unit), 4 * unit)
    this.context.putImageData(image, 0, 0)
  }

  surround(column, row, width, height) {
    const share = (part, whole) => `${(100 * part) / whole}%`
    Object.assign(this.mark.style, {
      left: share(column, this.columns),
      top: share(row, this.rows),
      width: share(width, this.columns),
      height: share(height, this.rows),
    })
    this.mark.hidden = false
  }
}

class DrawDigit {
  constructor(root) {
    this.root = root
    this.example = JSON.parse(root.dataset.example)
    this.strokes = this.example.strokes
    this.isExample = true // until somebody draws
    this.pen = { x: 0.5, y: 0.5, down: false, shown: false } // of the keyboard
    this.build()
    this.listen()
    this.drawPaper()
    this.showSeen(centred(inkOf(this.strokes)))
    this.showAnswer(nearest(this.example.penalties, this.example.limit))
    this.paintFirstLook()
    this.sum.hide()
  }

  // The page

  build() {
    this.paper = element("canvas", {
      class: "dd-paper", tabindex: "0", role: "application",
      "aria-label": "Paper to draw a digit on. Arrow keys move the pen, space lowers and lifts it, Delete clears.",
    })
    this.clear = element("button", { type: "button", class: "dd-clear" }, "Clear")
    this.samples = Array.from({ length: 10 }, (_, digit) =>
      element("button", { type: "button", "aria-label": `Write a ${digit}` }, `${digit}`),
    )
    this.seen = new Tile(SIDE, SIDE, { class: "dd-tile dd-input", role: "img", "aria-label": "The network's input" })
    this.seenNote = element("p", { class: "dd-note" })
    this.digit = element("div", { class: "dd-digit" })
    this.verdict = element("p", { class: "dd-verdict" })
    this.live = element("p", { class: "dd-live", "aria-live": "polite" })
    this.layers = SHOWN.map((shown) => ({ ...shown, tiles: tilesOf(shown) }))
    this.penalties = this.layers.at(-1).tiles.map(({ root }) => {
      const bar = element("i", { class: "dd-bar" })
      const value = element("span", { class: "dd-value" })
      return { bar, value, column: element("span", { class: "dd-code" }, root, element("span", { class: "dd-track" }, bar), value) }
    })
    this.maps = element(
      "div",
      { class: "dd-maps", role: "application", "aria-label": "The network's units. Arrow keys walk from unit to unit." },
      ...this.layers.slice(0, -2).map((layer) => row(layer, layer.tiles.map(({ root }) => root))),
      element("div", { class: "dd-ends" },
        row(this.layers.at(-2), this.layers.at(-2).tiles.map(({ root }) => root)),
        row(this.layers.at(-1), this.penalties.map(({ column }) => column)),
      ),
    )
    this.layers[0].tiles[0].root.tabIndex = 0
    this.sum = new Sum()
    this.root.replaceChildren(
      element("div", { class: "dd-top" },
        element("div", { class: "dd-draw" }, this.paper,
          element("div", { class: "dd-tools" }, this.clear, element("span", { class: "dd-note" }, "or write"), element("div", { class: "dd-samples", role: "group", "aria-label": "Digits that the page writes" }, ...this.samples))),
        element("div", { class: "dd-seen" }, this.seen.root, this.seenNote),
        element("div", { class: "dd-answer" }, this.digit, this.verdict),
      ),
      this.maps, this.sum.root, this.live,
    )
    this.root.style.setProperty("--limit", `${height(this.example.limit)}%`)
  }

  listen() {
    const { paper, maps } = this
    paper.addEventListener("pointerdown", (event) => this.touch(event))
    paper.addEventListener("pointermove", (event) => this.move(event))
    for (const end of ["pointerup", "pointercancel"])
      paper.addEventListener(end, (event) => {
        if (event.pointerId === this.pointer) this.lift()
      })
    paper.addEventListener("focus", () => {
      this.wake()
      this.pen.shown = paper.matches(":focus-visible")
      this.drawPaper()
    })
    paper.addEventListener("blur", () => {
      this.pen.shown = this.pen.down = false
      this.drawPaper()
    })
    paper.addEventListener("keydown", (event) => this.key(event))
    this.clear.addEventListener("click", () => this.erase())
    this.samples.forEach((button, digit) => button.addEventListener("click", () => this.write(digit)))
    for (const kind of ["pointermove", "pointerdown"])
      maps.addEventListener(kind, (event) => this.pointAt(event))
    maps.addEventListener("focusin", ({ target }) => this.enter(target))
    maps.addEventListener("keydown", (event) => this.walk(event))
    // The ink has the colour of the page's own.
    new MutationObserver(() => this.drawPaper()).observe(document.body, { attributeFilter: ["data-md-color-scheme"] })
    new ResizeObserver(() => this.drawPaper()).observe(paper)
  }

  // The weights

  /** Fetch the network once; what is drawn meanwhile is answered when it has come. */
  wake() {
    this.loading ??= this.fetchWeights().then(
      () => this.later(),
      (error) => {
        this.loading = undefined // the next touch tries again
        this.say("", `The network could not be fetched: ${error.message}. Draw again to retry.`)
        this.announce()
      },
    )
    return this.loading
  }

  async fetchWeights() {
    const address = new URL(this.root.dataset.manifest, document.baseURI)
    const manifest = await (await fetched(address)).json()
    // Named by its content, so that no cache can give the file of another edition.
    const file = new URL(`${manifest.file}?${manifest.sha256.slice(0, 12)}`, address)
    this.weights = readWeights(manifest, await (await fetched(file)).arrayBuffer())
    this.manifest = manifest
  }

  // Drawing

  touch(event) {
    if (event.button !== 0 || this.pointer !== undefined) return
    event.preventDefault()
    this.paper.focus({ preventScroll: true, focusVisible: false })
    this.wake()
    this.start()
    this.pointer = event.pointerId
    this.paper.setPointerCapture(event.pointerId)
    this.strokes.push([this.place(event)])
    this.later()
  }

  move(event) {
    if (event.pointerId !== this.pointer) return
    const moves = event.getCoalescedEvents?.() ?? []
    for (const move of moves.length ? moves : [event]) this.strokes.at(-1).push(this.place(move))
    this.later()
  }

  lift() {
    this.pointer = undefined
    this.settle()
  }

  place({ clientX, clientY }) {
    const { left, top, width, height } = this.paper.getBoundingClientRect()
    const within = (share) => Math.min(1, Math.max(0, share))
    return [within((clientX - left) / width), within((clientY - top) / height)]
  }

  /** Take the example away before the reader's own first stroke. */
  start() {
    cancelAnimationFrame(this.writing)
    if (this.isExample) this.strokes = []
    this.isExample = false
  }

  erase() {
    this.start()
    this.strokes = []
    this.pen.down = false
    this.settle()
  }

  /** Draw the digit as a hand would, or at once where motion is not wanted. */
  async write(digit) {
    await this.wake()
    if (!this.manifest) return
    this.start()
    const strokes = this.manifest.samples[digit]
    const points = strokes.flat().length
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches
    const begun = performance.now()
    this.isExample = true // drawing begins on clean paper again
    const frame = (now) => {
      const most = still ? points : Math.ceil(((now - begun) / 900) * points)
      this.strokes = firstPoints(strokes, most)
      this.later()
      if (most < points) this.writing = requestAnimationFrame(frame)
      else this.settle()
    }
    frame(begun)
  }

  key(event) {
    const step = STEPS[event.key]
    if (event.key === " ") {
      this.pen.down = !this.pen.down
      if (this.pen.down) {
        this.start()
        this.strokes.push([[this.pen.x, this.pen.y]])
      } else this.settle()
    } else if (["Delete", "Backspace"].includes(event.key)) this.erase()
    else if (step) {
      this.pen.x = Math.min(1 - STEP, Math.max(STEP, this.pen.x + step[0] * STEP))
      this.pen.y = Math.min(1 - STEP, Math.max(STEP, this.pen.y + step[1] * STEP))
      if (this.pen.down) this.strokes.at(-1).push([this.pen.x, this.pen.y])
    } else return
    event.preventDefault()
    this.pen.shown = true
    this.later()
  }

  // Showing

  /** Show everything anew, once a frame; resolves when it is shown. */
  later() {
    this.frame ??= new Promise((resolve) =>
      requestAnimationFrame(() => {
        this.frame = undefined
        this.show()
        resolve()
      }),
    )
    return this.frame
  }

  show() {
    this.drawPaper()
    const ink = inkOf(this.strokes)
    const seen = ink && centred(ink)
    this.showSeen(seen)
    if (!this.weights) return
    if (!seen) {
      this.run = undefined
      this.say("", this.strokes.length ? "Only a dot so far." : "Nothing drawn.")
    } else {
      this.run = forward(this.weights, seen.pixels)
      this.showAnswer(answer(this.run, this.manifest.limit))
    }
    for (const { layer, output, tiles, side } of this.layers)
      tiles.forEach((tile, index) => {
        const data = layer === "rbf" ? this.weights["rbf.prototypes"].subarray(84 * index) : this.run?.[output].data
        const first = layer === "rbf" ? 0 : index * side * side
        tile.paint((unit) => signed(data?.[first + unit] ?? 0, AMPLITUDE))
      })
    if (!seen) this.showPenalties(undefined)
    this.showUnit()
  }

  drawPaper() {
    const { paper, pen } = this
    const side = Math.round(paper.clientWidth * devicePixelRatio) || 1
    if (paper.width !== side) paper.width = paper.height = side
    const context = paper.getContext("2d")
    const style = getComputedStyle(this.root)
    context.clearRect(0, 0, side, side)
    context.lineCap = context.lineJoin = "round"
    const bounds = boundsOf(this.strokes)
    if (bounds) {
      const { left, right, top, bottom } = bounds
      context.strokeStyle = style.getPropertyValue("--book-muted")
      context.lineWidth = devicePixelRatio
      context.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio])
      context.strokeRect((left - PEN) * side, (top - PEN) * side, (right - left + 2 * PEN) * side, (bottom - top + 2 * PEN) * side)
      context.setLineDash([])
    }
    context.strokeStyle = style.getPropertyValue("--book-ink")
    context.lineWidth = 2 * PEN * side
    for (const stroke of this.strokes) {
      context.beginPath()
      for (const [x, y] of [stroke[0], ...stroke]) context.lineTo(x * side, y * side)
      context.stroke()
    }
    if (!pen.shown) return
    context.strokeStyle = style.getPropertyValue("--book-accent")
    context.fillStyle = context.strokeStyle
    context.lineWidth = 2 * devicePixelRatio
    context.beginPath()
    context.arc(pen.x * side, pen.y * side, PEN * side, 0, 7)
    context[pen.down ? "fill" : "stroke"]()
  }

  showSeen(seen) {
    this.seen.paint((unit) => Array(3).fill(Math.round((255 * ((seen?.pixels[unit] ?? -0.1) + 0.1)) / 1.275)))
    this.seen.root.classList.toggle("dd-blank", !seen)
    if (!seen) {
      this.seenNote.textContent = "What the network sees: nothing yet."
      return
    }
    const [right, down] = seen.moved
    const way = (by, more, less) => by && `${Math.abs(by)} ${by > 0 ? more : less}`
    const ways = [way(right, "right", "left"), way(down, "down", "up")].filter(Boolean).join(" and ")
    this.seenNote.textContent =
      "What the network sees, as in MNIST: 20 pixels on the longer side, the centre of the ink in the " +
      `middle of 32 × 32. ${ways ? `That moved it ${ways}.` : "It lay there already."}`
  }

  showAnswer({ digit, distance, refused, penalties }) {
    const limit = number(this.example.limit, 2)
    const [, next] = [...penalties].sort((a, b) => a - b)
    this.say(
      refused ? "?" : `${digit}`,
      refused
        ? `None of these. The nearest is ${digit}, at a distance of ${number(distance)}: beyond ${limit}, where it refuses.`
        : `It reads ${digit}, at a distance of ${number(distance)}. The next, ${penalties.indexOf(next)}, is at ${number(next)}.`,
    )
    this.showPenalties(penalties, refused ? -1 : digit)
  }

  showPenalties(penalties, digit) {
    this.penalties.forEach(({ bar, value, column }, index) => {
      bar.style.height = penalties ? `${height(penalties[index])}%` : "0"
      value.textContent = penalties ? number(penalties[index], 2) : ""
      column.classList.toggle("dd-chosen", index === digit)
    })
  }

  say(digit, verdict) {
    this.digit.textContent = digit
    this.verdict.textContent = verdict
  }

  /** Once a stroke has ended, and the network is there, tell the answer to those who listen. */
  async settle() {
    await this.wake()
    await this.later()
    this.announce()
  }

  announce() {
    this.live.textContent = this.verdict.textContent
  }

  /** The example's maps, cut from a picture: a layer a row, a pixel a unit. */
  async paintFirstLook() {
    const sheet = new Image()
    sheet.src = this.root.dataset.sheet
    await sheet.decode().catch(() => {})
    if (this.weights || !sheet.naturalWidth) return
    let top = SIDE
    for (const { layer, tiles, grid, side } of this.layers) {
      const [columns, rows] = layer === "rbf" ? BITMAP : [side, side]
      tiles.forEach(({ context }, index) => {
        if (!grid) context.drawImage(sheet, index * columns, top, columns, rows, 0, 0, columns, rows)
        else
          for (let line = 0; line < grid[1]; line++)
            context.drawImage(sheet, line * grid[0], top, grid[0], 1, 0, line, grid[0], 1)
      })
      top += rows
    }
  }

  // Pointing

  pointAt(event) {
    const tile = event.target.closest(".dd-tile")
    if (!tile) return
    const { left, top, width, height } = tile.getBoundingClientRect()
    const { columns, rows } = this.tileOf(tile)
    const cell = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)))
    this.point(tile, cell((event.clientX - left) / width, columns), cell((event.clientY - top) / height, rows))
  }

  /** By keyboard one comes back to the unit one left. */
  enter(tile) {
    this.wake()
    if (this.pointed?.tile !== tile && tile.matches(":focus-visible")) this.pointAtMiddle(tile)
  }

  pointAtMiddle(tile) {
    const { columns, rows } = this.tileOf(tile)
    this.point(tile, Math.floor(columns / 2), Math.floor(rows / 2))
  }

  point(tile, column, row) {
    this.wake()
    const { pointed } = this
    if (pointed?.tile === tile && pointed.column === column && pointed.row === row) return
    for (const { tiles } of this.layers) for (const { root } of tiles) root.tabIndex = -1
    tile.tabIndex = 0
    this.pointed = { tile, column, row }
    if (this.weights) this.showUnit()
  }

  tileOf(root) {
    for (const layer of this.layers) {
      const index = layer.tiles.findIndex((tile) => tile.root === root)
      if (index >= 0) return { layer, index, ...layer.tiles[index] }
    }
  }

  walk(event) {
    const step = STEPS[event.key]
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    if (this.pointed?.tile !== event.target) return this.pointAtMiddle(event.target)
    const { pointed } = this
    const { layer, index, columns, rows } = this.tileOf(pointed.tile)
    const single = layer.layer === "rbf" // a bitmap is one unit
    const [column, row] = [pointed.column + step[0], pointed.row + step[1]]
    if (!single && column >= 0 && column < columns && row >= 0 && row < rows)
      return this.point(pointed.tile, column, row)
    const next = step[0] ? layer.tiles[index + step[0]] : this.tileBeyond(layer, index, step[1])
    if (!next) return
    next.root.focus()
    const edge = (by, at, from, to) => (by > 0 ? 0 : by < 0 ? to - 1 : Math.floor((at / from) * to))
    this.point(
      next.root,
      edge(step[0], pointed.column, columns, next.columns),
      edge(step[1], pointed.row, rows, next.rows),
    )
  }

  /** The tile of the layer above or below that lies in the same part of the row. */
  tileBeyond(layer, index, by) {
    const tiles = this.layers[this.layers.findIndex(({ layer: name }) => name === layer.layer) + by]?.tiles
    return tiles?.[Math.floor(((index + 0.5) / layer.tiles.length) * tiles.length)]
  }

  showUnit() {
    const { pointed, run } = this
    for (const { tiles } of this.layers) for (const { mark } of tiles) mark.hidden = true
    this.seen.mark.hidden = true
    if (!pointed || !run) return this.sum.hide(!run)
    const { layer, index: number, columns } = this.tileOf(pointed.tile)
    const { layer: name, side, grid, maps } = layer
    const [column, row] = name === "rbf" ? [0, 0] : [pointed.column, pointed.row]
    const index = (grid ? 0 : number * side * side) + row * columns + column
    const unit = explain(this.weights, run, name, index)
    const seen = field(run, name, index)
    const where = `${name}, ${name === "rbf" ? "distance to" : side === 1 ? "unit" : "map"} ${unit.map}`
    const title = side === 1 ? where : `${where}, row ${row}, column ${column}`
    this.markUnit(layer, number, unit, [column, row])
    this.seen.surround(seen.left, seen.top, seen.size, seen.size)
    this.sum.show(title, unit, backward(this.weights, run, name, index), run.input.data, seen)
    pointed.tile.setAttribute("aria-label", `${title}: ${this.sum.words}. ${name === "rbf" ? "" : `One of ${maps * side * side} units.`}`)
  }

  /** Marks around the unit and around all that it sees in the layer below. */
  markUnit({ layer, tiles }, number, { parts, row, column, window }, [x, y]) {
    const place = SHOWN.findIndex(({ layer: name }) => name === layer)
    if (layer === "rbf") tiles[number].surround(0, 0, ...BITMAP)
    else tiles[number].surround(x, y, 1, 1)
    const below = this.layers[place - 1]
    if (below?.grid) below.tiles[0].surround(0, 0, ...below.grid)
    else for (const { source } of parts) below?.tiles[source].surround(column, row, window, window)
  }
}

/** A unit's sum: what it sees, times its kernel, and where in the digit that comes from. */
class Sum {
  constructor() {
    this.title = element("p", { class: "dd-title" })
    this.projection = new Tile(SIDE, SIDE, { class: "dd-tile dd-projection", role: "img", "aria-label": "Projection of the unit over the digit" })
    this.outline = element("canvas", { class: "dd-outline", width: 4 * SIDE, height: 4 * SIDE, "aria-hidden": "true" })
    this.projection.root.append(this.outline)
    this.blocks = ["patch", "kernel", "products"].map((name) => {
      const canvas = element("canvas", { width: 240, height: 240, role: "img", "aria-label": name })
      return { canvas, label: element("span", { class: "dd-label" }, name) }
    })
    const [patch, kernel, products] = this.blocks.map(({ canvas, label }) => element("span", { class: "dd-block" }, canvas, label))
    this.sign = element("span", { class: "dd-sign" }, "×")
    this.equation = element("p", { class: "dd-equation" })
    this.hint = element("p", { class: "dd-note" })
    this.body = element("div", { class: "dd-body", hidden: "" },
      element("span", { class: "dd-block" }, this.projection.root, element("span", { class: "dd-label" }, "projection")),
      patch, this.sign, kernel, element("span", { class: "dd-sign" }, "="), products)
    this.root = element("div", { class: "dd-sum" }, this.hint, this.title, this.body, this.equation)
  }

  hide(empty) {
    this.body.hidden = this.title.hidden = this.equation.hidden = true
    this.hint.hidden = false
    this.root.classList.toggle("dd-idle", true)
    this.hint.textContent = empty
      ? "Draw a digit, then point at a unit of any map and see its sum."
      : "Draw on the paper. Point at a unit of any map, or walk to it with the arrow keys, and see its sum."
  }

  show(title, unit, projection, pixels, seen) {
    this.root.classList.remove("dd-idle")
    this.body.hidden = this.title.hidden = this.equation.hidden = false
    this.hint.hidden = true
    this.title.textContent = title
    const distance = unit.kind === "rbf"
    this.sign.textContent = distance ? "−" : "×"
    this.blocks[0].label.textContent = distance ? "84 values" : "patch"
    this.blocks[1].label.textContent = distance ? "bitmap" : unit.kind === "pool" ? "a quarter each" : "kernel"
    this.blocks[2].label.textContent = distance ? "squared" : "products"
    const largest = (numbers) => Math.max(...numbers.map((part) => part.reduce((a, b) => Math.max(a, Math.abs(b)), 0)))
    const { parts, window } = unit
    const grid = { 1: 1, 6: 3, 16: 4, 120: 12, 84: 7 }[parts.length]
    for (const [{ canvas }, key, scale] of [
      [this.blocks[0], "patch", AMPLITUDE],
      [this.blocks[1], "kernel", distance ? AMPLITUDE : largest(parts.map(({ kernel }) => kernel))],
      [this.blocks[2], "products", largest(parts.map(({ products }) => products))],
    ])
      drawParts(canvas, parts.map((part) => part[key]), window, grid, scale)
    const loudest = largest([projection])
    this.projection.paint((pixel) => signed(projection[pixel], loudest))
    this.projection.surround(seen.left, seen.top, seen.size, seen.size)
    drawOutline(this.outline, pixels)
    this.words = words(unit)
    this.equation.textContent = this.words
    this.root.dataset.sum = unit.sum
    this.root.dataset.output = unit.output
  }
}

/** The sum of a unit in one line. */
function words({ kind, total, bias, sum, output }) {
  if (kind === "rbf") return `84 squared differences add up to ${fixed(sum)}`
  const squashed = `1.7159 tanh(⅔ × ${fixed(sum)}) = ${fixed(output)}`
  if (kind === "pool") return `the mean is ${fixed(sum)}; ${squashed}`
  return `products ${fixed(total)} ${bias < 0 ? "−" : "+"} bias ${fixed(Math.abs(bias))} = ${fixed(sum)}; ${squashed}`
}

/** Windows side by side; their numbers are written out where there is room. */
function drawParts(canvas, parts, window, across, scale) {
  const context = canvas.getContext("2d")
  const down = Math.ceil(parts.length / across)
  const gap = window > 1 && parts.length > 1 ? 0.6 : 0
  const cell = Math.floor(canvas.width / Math.max(across * window + (across - 1) * gap, down * window + (down - 1) * gap))
  const start = (count) => Math.floor((canvas.width - cell * (count * window + (count - 1) * gap)) / 2)
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.textAlign = "center"
  context.textBaseline = "middle"
  context.font = `${Math.min(20, Math.round(0.4 * cell))}px system-ui, sans-serif`
  parts.forEach((part, index) => {
    const left = start(across) + Math.round((index % across) * (window + gap) * cell)
    const top = start(down) + Math.round(Math.floor(index / across) * (window + gap) * cell)
    part.forEach((value, unit) => {
      const [x, y] = [left + (unit % window) * cell, top + Math.floor(unit / window) * cell]
      const colour = signed(value, scale)
      context.fillStyle = `rgb(${colour})`
      context.fillRect(x, y, cell, cell)
      if (cell < 44) return
      context.fillStyle = colour[1] > 110 ? "#000" : "#fff"
      const digits = Math.abs(value).toFixed(2)
      const sign = value < 0 && Number(digits) ? "−" : ""
      context.fillText(sign + digits.replace(/^0/, ""), x + cell / 2, y + cell / 2)
    })
  })
}

/** The edge of the ink, so that a projection can be seen over the digit. */
function drawOutline(canvas, pixels) {
  const context = canvas.getContext("2d")
  const zoom = canvas.width / SIDE
  const inked = (row, column) => row >= 0 && row < SIDE && column >= 0 && column < SIDE && pixels[row * SIDE + column] > 0.5
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.beginPath()
  for (let row = 0; row <= SIDE; row++)
    for (let column = 0; column <= SIDE; column++) {
      const here = inked(row, column)
      const [x, y] = [column * zoom, row * zoom]
      if (here !== inked(row - 1, column)) context.moveTo(x, y), context.lineTo(x + zoom, y)
      if (here !== inked(row, column - 1)) context.moveTo(x, y), context.lineTo(x, y + zoom)
    }
  context.strokeStyle = "#fffc"
  context.lineWidth = 1
  context.stroke()
}

function tilesOf({ layer, maps, side, grid, paper }) {
  const count = grid ? 1 : maps
  return Array.from({ length: count }, (_, index) => {
    const [columns, rows] = layer === "rbf" ? BITMAP : (grid ?? [side, side])
    const what = layer === "rbf" ? `bitmap of ${index}` : grid ? `${maps} units` : `map ${index}`
    return new Tile(columns, rows, { role: "img", tabindex: "-1", "aria-label": `${layer} (${paper}), ${what}` })
  })
}

function row({ layer, maps, side, paper }, tiles) {
  const size =
    layer === "rbf" ? "ten distances; beyond the dashed line it refuses"
      : side > 1 ? `${maps} × ${side} × ${side}` : `${maps} units`
  const name = element("span", { class: "dd-name" }, element("b", {}, layer), ` ${paper} `, element("small", {}, size))
  return element("div", { class: "dd-layer", "data-layer": layer }, name, element("div", { class: "dd-tiles" }, ...tiles))
}

function nearest(penalties, limit) {
  return answer({ rbf: { data: penalties } }, limit)
}

/** How much of its track the bar of a distance fills; the root of a squared distance is a length. */
function height(penalty) {
  return Math.min(100, (100 * Math.sqrt(penalty)) / FARTHEST)
}

function firstPoints(strokes, count) {
  const drawn = []
  for (const stroke of strokes) {
    if (count <= 0) break
    drawn.push(stroke.slice(0, count))
    count -= stroke.length
  }
  return drawn
}

async function fetched(address) {
  const response = await fetch(address).catch(() => {
    throw new Error("no connection")
  })
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  return response
}

for (const root of document.querySelectorAll(".draw-digit")) new DrawDigit(root)
