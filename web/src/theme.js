// Light and dark: the system's choice until the user makes one. Colours live in style.css; drawings read them here.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const known = new Map();
let chosen = false;

function apply(name) {
  root.dataset.theme = name;
  known.clear();
  dispatchEvent(new Event("themechange"));
}

export function isDark() {
  return root.dataset.theme === "dark";
}

export function toggleTheme() {
  chosen = true;
  apply(isDark() ? "light" : "dark");
}

// The value of a CSS variable, such as color("left").
export function color(name) {
  if (!known.has(name)) known.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  return known.get(name);
}

apply(system.matches ? "dark" : "light");
system.addEventListener("change", () => chosen || apply(system.matches ? "dark" : "light"));
