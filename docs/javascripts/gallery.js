// The figures' filters: by network and by method. The choice stands in the address, so that it can
// be linked to and survives the way back from a chapter. Without this script all figures are shown.
const form = document.querySelector("form.filters")
const figures = [...document.querySelectorAll(".index > figure")]
const status = form.querySelector("[role=status]")
const names = ["network", "method"]

function show() {
  const chosen = Object.fromEntries(new FormData(form))
  let count = 0
  for (const figure of figures) {
    const { network, method } = figure.dataset
    const fits =
      (!chosen.network || network === chosen.network) &&
      (!chosen.method || method.split(" ").includes(chosen.method))
    figure.hidden = !fits
    count += fits
  }
  for (const list of document.querySelectorAll(".index")) {
    const empty = !list.querySelector("figure:not([hidden])")
    list.hidden = empty
    list.previousElementSibling.hidden = empty // the chapter's title
  }
  const all = Number(status.dataset.all)
  status.textContent = count
    ? `${count < all ? `${count} of ` : ""}${all} figures`
    : "No figure is both. Choose another network or another method."
}

function readAddress() {
  const asked = new URLSearchParams(location.search)
  for (const name of names) {
    const choices = [...form.querySelectorAll(`[name=${name}]`)]
    const choice = choices.find(({ value }) => value === asked.get(name)) ?? choices[0]
    if (choice) choice.checked = true
  }
  show()
}

form.addEventListener("change", () => {
  const address = new URL(location.href)
  address.hash = ""
  for (const [name, value] of new FormData(form))
    value ? address.searchParams.set(name, value) : address.searchParams.delete(name)
  history.replaceState(history.state, "", address)
  show()
})
form.addEventListener("submit", event => event.preventDefault())
addEventListener("popstate", readAddress)
readAddress()
