// A list that is alive without jumping: rows change in place; at the top of the page the list is as the server has it;
// further down new rows wait behind a button, and rows that left the list stay, greyed, until then.
function keep(list, next) {
  const picked = list.querySelector('[aria-selected="true"]')?.dataset.id;
  const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id;
  list.replaceChildren(...[...next.children].map((row) => document.adoptNode(row)));
  const find = (id) => id && [...list.children].find((row) => row.dataset.id === id);
  find(picked)?.setAttribute("aria-selected", "true");
  find(focused)?.querySelector("a")?.focus({ preventScroll: true });
}

export function merge(list, next) {
  const hides = list.closest("[data-hides]") ?? list.closest("table");
  hides.hidden = (next.closest("[data-hides]") ?? next.closest("table")).hidden;
  const mine = new Map([...list.children].filter((r) => r.dataset.id).map((row) => [row.dataset.id, row]));
  const theirs = new Map([...next.children].filter((r) => r.dataset.id).map((row) => [row.dataset.id, row]));
  const fresh = [...theirs.keys()].filter((id) => !mine.has(id));
  const changed = [...theirs].filter(([id, row]) => mine.has(id) && mine.get(id).dataset.version !== row.dataset.version).map(([id]) => id);
  const button = document.querySelector(`[data-new-rows="${list.id}"]`);
  const still = scrollY > 80 || list.querySelector('[aria-selected="true"]') !== null;
  if (!still || !button) {
    keep(list, next);
    if (button) button.hidden = true;
  } else {
    for (const [id, row] of mine) {
      const other = theirs.get(id);
      row.classList.toggle("left", !other);
      if (!other || !changed.includes(id)) continue;
      const focused = row.contains(document.activeElement);
      row.innerHTML = other.innerHTML;
      row.className = other.className;
      for (const name in other.dataset) row.dataset[name] = other.dataset[name];
      if (focused) row.querySelector("a")?.focus({ preventScroll: true });
    }
    button.hidden = fresh.length === 0;
    button.textContent = (fresh.length === 1 ? button.dataset.one : button.dataset.more.replace("#", fresh.length));
    button.onclick = () => { keep(list, next); button.hidden = true; scrollTo({ top: 0 }); };
  }
  for (const row of list.children) {
    if (changed.includes(row.dataset.id)) { row.classList.remove("changed"); void row.offsetWidth; row.classList.add("changed"); }
  }
}
