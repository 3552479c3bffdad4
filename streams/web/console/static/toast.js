// Something said for a moment, at the foot of the page.
export function toast(text, isProblem = false) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.className = isProblem ? "said problem" : "said";
  box.hidden = false;
  clearTimeout(box.timer);
  box.timer = setTimeout(() => (box.hidden = true), isProblem ? 9000 : 4000);
}
