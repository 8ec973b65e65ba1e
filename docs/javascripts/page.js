// A figure is drawn twice, NAME.webp for light paper and NAME-dark.webp for dark. The page holds
// the light one; its twin is put beside it here. Material's style sheet shows one of the two, and
// a hidden lazy image is never fetched. Without scripts there is no dark scheme to need it.
for (const picture of document.querySelectorAll('img[src$=".webp#only-light"]')) {
  const light = picture.closest("a.glightbox") ?? picture
  light.dataset.gallery = "light"
  light.insertAdjacentHTML(
    "afterend",
    light.outerHTML
      .replaceAll(".webp#only-light", "-dark.webp#only-dark")
      .replace('data-gallery="light"', 'data-gallery="dark"'),
  )
}

// Each heading links to itself. Written into the page, these links would be a thirtieth of it.
for (const heading of document.querySelectorAll("article :is(h2, h3, h4)[id]")) {
  const link = document.createElement("a")
  Object.assign(link, { className: "headerlink", href: `#${heading.id}`, title: "Link", textContent: "#" })
  heading.append(" ", link)
}

// What Material leaves to be said to those who hear the page or go through it by keyboard: a name
// for the search, no landmark for each copy button, and a stop at whatever has to be scrolled.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
const scrolling = ".md-typeset__scrollwrap, article table, article pre > code, .equation"
const focusWhatScrolls = () => {
  for (const box of document.querySelectorAll(scrolling))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0
}
addEventListener("load", () => {
  for (const buttons of document.querySelectorAll("nav.md-code__nav")) buttons.role = "none"
  focusWhatScrolls()
})
addEventListener("toggle", focusWhatScrolls, true) // folded code has no width before it is opened
