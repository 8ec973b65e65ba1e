// The atlas: a channel by its address, keys, search, all channels as a table, copying. Pages are
// whole without it.

const page = document.querySelector(".atlas")
const channels = [...document.querySelectorAll("[data-channel]")]

// Data come as JSON from a server. Pages opened as files may load scripts only: those call
// `atlasData` with the same.
const loaded = {}
function load(address) {
  loaded[address] ??= address.endsWith(".js")
    ? new Promise((done, failed) => {
        window.atlasData = done
        document.head.append(Object.assign(document.createElement("script"), { src: address, onerror: failed }))
      })
    : fetch(address).then((answer) => answer.json())
  return loaded[address]
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

// A layer's channels. The address names one; a layer of many channels has several pages.
function open(focus = true) {
  const wanted = /^#\d+$/.test(location.hash) ? location.hash.slice(1) : undefined
  if (wanted === undefined) return
  const found = channels.find(({ dataset }) => dataset.channel === wanted)
  if (!found) {
    const { part, shown, layer } = page.dataset
    const first = Math.floor(wanted / part) * part
    const [folder, index = ""] = layer.split(/(index\.html)$/)
    if (+wanted < +shown) location.replace(`${folder}${first ? `${first}/` : ""}${index}#${wanted}`)
    return
  }
  mark(found)
  if (focus) found.focus({ preventScroll: true })
  // Channels on the way are laid out as they come near, and may turn out higher than was thought.
  let rounds = 0
  const settle = () => {
    found.scrollIntoView({ block: "start" })
    if (++rounds < 8) requestAnimationFrame(settle)
  }
  settle()
}

function mark(channel) {
  for (const other of page.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current")
  const link = page.querySelector(`.numbers a[href$="#${channel.dataset.channel}"]`)
  for (const here of [channel, link]) here?.setAttribute("aria-current", "true")
  const numbers = link?.parentElement
  if (numbers) numbers.scrollLeft = link.offsetLeft - numbers.offsetLeft - numbers.clientWidth / 2
}

function current() {
  const marked = channels.findIndex((channel) => channel.hasAttribute("aria-current"))
  return marked >= 0 && inView(channels[marked]) ? marked : channels.findIndex(inView)
}

function inView(channel) {
  const { top, bottom } = channel.getBoundingClientRect()
  return bottom > 120 && top < innerHeight
}

function step(way) {
  const here = current()
  const marked = channels[here]?.hasAttribute("aria-current")
  const next = channels[marked || way < 0 ? here + way : Math.max(here, 0)]
  if (next) location.hash = next.dataset.channel
  else {
    const number = +channels.at(way < 0 ? 0 : -1).dataset.channel + way
    if (number >= 0 && number < +page.dataset.shown) location.hash = number
  }
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return
  if (event.target.closest("input, select, textarea, [contenteditable], dialog")) return
  const act = {
    j: () => step(1),
    k: () => step(-1),
    o: () => {
      const folded = channels[current()]?.querySelector("details")
      if (folded) folded.open = !folded.open
    },
    "]": () => page.querySelector("[rel=next]")?.click(),
    "[": () => page.querySelector("[rel=prev]")?.click(),
  }[event.key]
  if (!act) return
  act()
  event.preventDefault()
}

// What can be copied gets a button when its channel is unfolded.
function copying(details) {
  const channel = details.closest("[data-channel]")
  if (!channel || details.querySelector("button") || !navigator.clipboard) return
  const add = (after, name, text) => {
    const button = element("button", { type: "button", textContent: name })
    button.onclick = () => navigator.clipboard.writeText(text()).then(() => (button.textContent = "copied"))
    after.after(" ", button)
  }
  const code = details.querySelector("code")
  const cite = details.querySelector("cite")
  const link = () => new URL(`#${channel.dataset.channel}`, location).href
  add(code, "copy", () => code.textContent)
  add(cite, "copy with link", () => `${cite.textContent}, ${link()}`)
  add(cite, "copy link", link)
}

// All channels of a layer, also those without tiles.
function everyChannel(button) {
  button.hidden = false
  button.onclick = async () => {
    button.disabled = true
    const data = await load(page.dataset.channels)
    const heads = ["Channel", "Strongest", "Ninth", ...(data.channels[0].fires ? ["Fires in"] : []), ...(data.classes.length ? ["Classes of the nine"] : []), "Strongest picture"]
    const rows = data.channels.map(({ images, values, fires }, number) => {
      const counts = {}
      for (const image of images) counts[data.labels[image]] = (counts[data.labels[image]] ?? 0) + 1
      const classes = Object.entries(counts).sort((a, b) => b[1] - a[1])
      const cells = [number, values[0].toPrecision(3), values.at(-1).toPrecision(3)]
      if (fires) cells.push(`${Math.round((100 * fires.reduce((a, b) => a + b, 0)) / data.mined)} %`)
      if (data.classes.length) cells.push(classes.map(([label, n]) => `${n} ${data.classes[label]}`).join(", "))
      cells.push(data.files[images[0]])
      const row = element("tr", {}, ...cells.map((words) => element("td", { textContent: words })))
      if (number < +page.dataset.shown) row.firstChild.replaceChildren(element("a", { href: `#${number}`, textContent: number }))
      return row
    })
    const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col", textContent: words })))
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))
    const wide = element("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: "All channels" }, table)
    button.parentElement.replaceWith(wide)
    wide.focus()
  }
}

// Search. The fields are the address, so that what was found can be linked to.
const MOST_FOUND = 120

function search(form) {
  form.hidden = false
  const fields = [...form.elements].filter((field) => field.name)
  const address = new URLSearchParams(location.search)
  for (const field of fields) if (address.has(field.name)) field.value = address.get(field.name)
  const go = async () => {
    const asked = Object.fromEntries(fields.map((field) => [field.name, field.value.trim()]))
    const state = new URLSearchParams(Object.entries(asked).filter(([, value]) => value))
    history.replaceState(null, "", `${location.pathname}${state.size ? `?${state}` : ""}${location.hash}`)
    if (!state.size) return show(form)
    const data = await load(form.dataset.search)
    show(form, find(data, asked, form.dataset.network), data)
  }
  form.addEventListener("input", go)
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    go()
  })
  if (fields.some((field) => field.value)) go()
}

function find(data, asked, network = asked.network) {
  const least = asked.share === "" || asked.share === undefined ? 50 : +asked.share
  const found = []
  for (const [n, at, channel, value, labels, excited] of data.channels) {
    const { name, classes, layers } = data.networks[n]
    if (network && name !== network) continue
    if (asked.layer && !layers[at].name.toLowerCase().includes(asked.layer.toLowerCase())) continue
    if (asked.value && value < +asked.value) continue
    let share
    if (asked.class) {
      const label = classes.indexOf(asked.class)
      if (label < 0) continue
      const counted = asked.by ? excited[label] ?? 0 : labels.filter((one) => one === label).length
      const all = asked.by ? excited.reduce((a, b) => a + b, 0) : labels.length
      share = all ? (100 * counted) / all : 0
      if (share < least) continue
    }
    found.push({ n, at, channel, value, share })
  }
  return found.sort((a, b) => (b.share ?? 0) - (a.share ?? 0) || b.value - a.value)
}

function show(form, found, data) {
  const list = form.querySelector(".results")
  const status = form.querySelector(".found")
  if (!found) return list.replaceChildren(), (status.textContent = "")
  const more = found.length > MOST_FOUND ? `; the first ${MOST_FOUND} are listed` : ""
  status.textContent = found.length ? `${found.length} channel${found.length > 1 ? "s" : ""}${more}` : "No channel is like that."
  // The data lie where the atlas begins: what they name is found from there.
  const home = new URL(form.dataset.search, location).href.replace(/[^/]*$/, "")
  list.replaceChildren(
    ...found.slice(0, MOST_FOUND).map(({ n, at, channel, value, share }) => {
      const { title, overview, layers } = data.networks[n]
      const first = Math.floor(channel / data.part) * data.part
      const href = `${home}${layers[at].path}${first ? `${first}/` : ""}${data.index}#${channel}`
      const tile = element("i")
      if (channel < data.columns) {
        tile.style.backgroundImage = `url("${home}${overview}")`
        tile.style.backgroundPosition = `${-40 * channel}px ${-40 * at}px`
      }
      const words = `${title}, ${share === undefined ? "" : `${Math.round(share)} %, `}value ${value}`
      const name = element("span", {}, `${layers[at].name}, channel ${channel}`, element("small", { textContent: words }))
      return element("li", {}, element("a", { href }, tile, name))
    }),
  )
}

// The strip on another page moves slowly, while it is seen and nobody touches it.
function move(strip) {
  const moving = strip.querySelector(".moving")
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return
  let seen = false
  let stopped = false
  let way = 1
  let place = moving.scrollLeft
  const button = element("button", { type: "button", textContent: "Stop moving" })
  button.onclick = () => {
    stopped = !stopped
    button.textContent = stopped ? "Move on" : "Stop moving"
  }
  strip.append(button)
  new IntersectionObserver(([{ isIntersecting }]) => (seen = isIntersecting)).observe(strip)
  let before = 0
  requestAnimationFrame(function frame(now) {
    const passed = Math.min(50, now - before)
    before = now
    if (seen && !stopped && !strip.matches(":hover, :focus-within")) {
      const end = moving.scrollWidth - moving.clientWidth
      place += way * passed * 0.016
      if (place >= end || place <= 0) way = place <= 0 ? 1 : -1
      moving.scrollLeft = place
    } else place = moving.scrollLeft
    requestAnimationFrame(frame)
  })
}

if (channels.length) {
  addEventListener("hashchange", () => open())
  addEventListener("keydown", press)
  addEventListener("toggle", (event) => event.target.open && copying(event.target), true)
  open()
  // Fonts and pictures above may still move the page once.
  addEventListener("load", () => open(false), { once: true })
}
document.querySelectorAll(".atlas .rest button").forEach(everyChannel)
document.querySelectorAll(".atlas form.search").forEach(search)
document.querySelectorAll(".atlas-strip").forEach(move)
