// The switch between light and dark paper. What was chosen last is remembered where the browser
// lets pages opened as files remember anything.
{
  const root = document.documentElement
  const remember = (scheme) => {
    try {
      return scheme ? localStorage.setItem("scheme", scheme) : localStorage.getItem("scheme")
    } catch {
      return null
    }
  }
  const chosen = remember()
  if (chosen) root.dataset.scheme = chosen
  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector(".site-head button")
    button.hidden = false
    button.onclick = () => {
      const dark = root.dataset.scheme ? root.dataset.scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches
      root.dataset.scheme = dark ? "light" : "dark"
      remember(root.dataset.scheme)
    }
  })
}
