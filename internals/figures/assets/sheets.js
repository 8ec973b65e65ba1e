// Sheets of tiles: sheets.css knows where each tile lies; here the sheet is handed to it as soon as
// the browser, which fetches lazy images when they come near, has it. A pair opens large.

(() => {
  const LARGE = `
    <div class="top">
      <h2 id="pair-large-name"></h2>
      <button type="button" value="-1" aria-label="Previous pair">‹</button>
      <button type="button" value="1" aria-label="Next pair" autofocus>›</button>
      <button type="button" value="0" aria-label="Close">×</button>
    </div>
    <p class="which"><span>projection</span><span>patch</span></p>
    <div class="sheet"><ol class="pairs"><li></li></ol></div>`

  let dialog, shown

  function cut(sheet) {
    const [projections, patches = projections] = sheet.querySelectorAll("img")
    const hand = (name, picture) => {
      const ready = () => {
        sheet.style.setProperty(name, `url("${picture.currentSrc}")`)
        if (!sheet.querySelector("[role=button]")) sheet.querySelectorAll(".pairs").forEach(makeButtons)
      }
      if (picture.complete && picture.naturalWidth) ready()
      else picture.addEventListener("load", ready, { once: true })
    }
    hand("--projections", projections)
    hand("--patches", patches)
  }

  // The words of each pair become a button. A row is one stop for the Tab key; arrows walk within it.
  function makeButtons(pairs) {
    for (const pair of pairs.children) {
      const button = document.createElement("span")
      button.setAttribute("role", "button")
      button.setAttribute("aria-haspopup", "dialog")
      button.tabIndex = pair === pairs.firstElementChild ? 0 : -1
      const [name, numbers] = pair.textContent.split("\n")
      const bold = document.createElement("b")
      bold.textContent = name
      button.append(bold, `\n${numbers}`)
      pair.replaceChildren(button)
    }
  }

  const buttonOf = (pair) => pair?.querySelector(":scope > [role=button]")

  function focus(pair) {
    for (const other of pair.parentElement.children) buttonOf(other).tabIndex = other === pair ? 0 : -1
    buttonOf(pair).focus()
  }

  function step(pair, key) {
    const pairs = pair.parentElement
    return {
      ArrowLeft: pair.previousElementSibling,
      ArrowRight: pair.nextElementSibling,
      Home: pairs.firstElementChild,
      End: pairs.lastElementChild,
    }[key]
  }

  function open(pair) {
    if (!dialog) {
      dialog = document.createElement("dialog")
      dialog.className = "pair-large"
      dialog.setAttribute("aria-labelledby", "pair-large-name")
      dialog.innerHTML = LARGE
      dialog.addEventListener("click", press)
      dialog.addEventListener("keydown", (event) => show(step(shown, event.key)))
      dialog.addEventListener("close", () => focus(shown))
      document.body.append(dialog)
    }
    show(pair)
    dialog.showModal()
  }

  function show(pair) {
    if (!pair) return
    shown = pair
    const pairs = pair.parentElement
    const number = [...pairs.children].indexOf(pair) + 1
    const sheet = pair.closest(".sheet")
    const layer = pair.closest("[data-layer]")?.dataset.layer
    const name = layer ? `${layer}, ${pairs.ariaLabel}` : pairs.ariaLabel
    dialog.querySelector("h2").textContent = `${name}: ${number} of ${pairs.children.length}`
    const [place, list, item] = dialog.querySelectorAll(".sheet, .pairs, li")
    place.className = sheet.className
    place.style = sheet.getAttribute("style")
    list.style = pairs.getAttribute("style")
    item.className = pair.className
    item.style = pair.getAttribute("style") ?? ""
    item.style.setProperty("--x", getComputedStyle(pair).getPropertyValue("--x") || 0)
    item.innerHTML = `<span>${buttonOf(pair).innerHTML}</span>`
    const [previous, next] = dialog.querySelectorAll("button")
    previous.disabled = !pair.previousElementSibling
    next.disabled = !pair.nextElementSibling
  }

  function press(event) {
    const { value } = event.target.closest("button") ?? {}
    if (event.target === dialog || value === "0") dialog.close()
    else if (value) show(step(shown, value === "1" ? "ArrowRight" : "ArrowLeft"))
  }

  // A page may add sheets later: one listener serves all, and `cutSheets` cuts the new ones.
  function cutSheets(within = document) {
    within.querySelectorAll(".sheet:has(img):not([data-cut])").forEach((sheet) => {
      sheet.dataset.cut = ""
      cut(sheet)
    })
  }

  // None before its sheet has come: there would be nothing to see.
  const pairAt = (event) => event.target.closest(".sheet[data-cut] .pairs > li:has(> [role=button])")

  document.addEventListener("click", (event) => {
    const pair = pairAt(event)
    if (pair) open(pair)
  })
  document.addEventListener("keydown", (event) => {
    const pair = pairAt(event)
    if (!pair || event.ctrlKey || event.altKey || event.metaKey) return
    const next = step(pair, event.key)
    if (event.key === "Enter" || event.key === " ") open(pair)
    else if (next) focus(next)
    else return
    event.preventDefault()
  })

  // What is printed is all that there is, also what nobody has come near.
  addEventListener("beforeprint", () => {
    for (const picture of document.querySelectorAll(".sheet img")) picture.loading = "eager"
  })

  window.cutSheets = cutSheets
  cutSheets()
})()
