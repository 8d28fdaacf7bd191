// Keyboard: one table makes both the handlers and the list behind "?".

const NAMES = { " ": "Space", ArrowRight: "\u2192", ArrowLeft: "\u2190", ArrowUp: "\u2191", ArrowDown: "\u2193" };

// `keys` rows are [names, what it does, action].
export function onKeys(keys) {
  const actions = new Map(keys.flatMap(([names, , action]) => names.map((name) => [name, action])));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typed = event.target.matches?.("select, input, textarea");
    if (typed || (document.querySelector("dialog[open]") && !"?h".includes(event.key))) return;
    if (event.key === " " && event.target.matches?.("button")) event.target.blur();
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
    const action = actions.get(name) ?? actions.get(name.toLowerCase());
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function listKeys(list, keys) {
  for (const [names, what] of keys) {
    const row = document.createElement("div");
    const meaning = document.createElement("span");
    meaning.textContent = what;
    const caps = document.createElement("span");
    for (const name of names) {
      const cap = document.createElement("kbd");
      cap.textContent = name.split("+").length > 1 && name !== "+" ? `Shift ${NAMES[name.slice(6)]}` : (NAMES[name] ?? name);
      caps.append(cap, " ");
    }
    row.append(caps, meaning);
    list.append(row);
  }
}
