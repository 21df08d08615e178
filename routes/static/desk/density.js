// How close the rows of lists stand, which each browser keeps. Loaded before the page is drawn, so that nothing jumps.

const DENSITY = "desk-density";
const COMPACT = "compact";

document.documentElement.dataset.density = localStorage.getItem(DENSITY) ?? "";

function showDensity() {
  for (const button of document.querySelectorAll('[data-do="density"]')) {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(document.documentElement.dataset.density === COMPACT));
  }
}

document.addEventListener("click", ({ target }) => {
  if (!target.closest?.('[data-do="density"]')) return;
  const density = document.documentElement.dataset.density === COMPACT ? "" : COMPACT;
  document.documentElement.dataset.density = density;
  localStorage.setItem(DENSITY, density);
  showDensity();
});
document.addEventListener("DOMContentLoaded", showDensity);
document.addEventListener("htmx:after:swap", showDensity);
