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

// What can be too wide for its page can be reached by keyboard, so that it can be scrolled: the page
// comes with such a stop at every block of code and every table. Those that fit lose theirs here,
// and get it back when the page becomes narrower. Where nothing can hover, Material takes it from
// all code, which is put right at once.
const fit = wide => {
  const box = wide.closest(".md-typeset__scrollwrap") ?? wide
  // To ask for the size of what is not laid out yet would have it laid out. Either may scroll.
  const fits =
    box.checkVisibility({ contentVisibilityAuto: true }) &&
    [wide, box].every(each => each.scrollWidth <= each.clientWidth)
  const stop = fits ? "-1" : "0"
  if (wide.getAttribute("tabindex") !== stop) wide.setAttribute("tabindex", stop)
}
const fitAll = changes => changes.forEach(({ target }) => fit(target))
const widths = new ResizeObserver(fitAll)
const stops = new MutationObserver(fitAll)
const allWide = document.querySelectorAll("article :is(pre > code, table, .equation)")
for (const wide of allWide) {
  widths.observe(wide)
  stops.observe(wide, { attributeFilter: ["tabindex"] })
}
addEventListener("resize", () => allWide.forEach(fit)) // what is not laid out has no size to observe

// What Material leaves to be said to those who hear the page: a name for the search, and no
// landmark for each copy button.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
const article = document.querySelector("article")
const mute = changes => {
  for (const { target } of changes) target.querySelector(":scope > nav.md-code__nav")?.setAttribute("role", "none")
}
if (article) new MutationObserver(mute).observe(article, { childList: true, subtree: true })

// A picture opens large. What does that is fetched at the first click, not by every page; where it
// cannot be had, the link leads to the picture itself.
const assets = new URL("../assets/", document.currentScript.src)
const fetched = (tag, attributes) =>
  new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(tag), attributes)
    element.onload = resolve
    element.onerror = reject
    document.head.append(element)
  })
let lightbox
let isFetching = false
addEventListener("click", async event => {
  const link = event.target.closest("a.glightbox")
  if (!link || lightbox || event.ctrlKey || event.metaKey || event.shiftKey) return
  event.preventDefault()
  if (isFetching) return
  isFetching = true
  try {
    await Promise.all([
      fetched("link", { rel: "stylesheet", href: new URL("stylesheets/glightbox.min.css", assets) }),
      fetched("script", { src: new URL("javascripts/glightbox.min.js", assets) }),
    ])
    lightbox = GLightbox({ openEffect: "fade", closeEffect: "fade", slideEffect: "none", loop: false })
    link.click() // which it listens to from now on
  } catch {
    location.assign(link.href)
  }
})
