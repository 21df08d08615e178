// What the desk's pages do in a browser beyond htmx. Every page works without it.

const main = () => document.getElementById("main");

// Moments in the reader's own zone. Ages are kept up to date.
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function shortAge(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return "now";
}

function writeTimes(within = document) {
  for (const time of within.querySelectorAll("time[data-moment]")) {
    time.textContent = moments.format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
  for (const time of within.querySelectorAll("time[data-age]")) {
    time.textContent = shortAge((Date.now() - new Date(time.dateTime)) / 1000);
    time.title = moments.format(new Date(time.dateTime));
  }
}

writeTimes();
setInterval(writeTimes, 30_000);
document.addEventListener("htmx:after:swap", () => writeTimes());

// Copying and printing, which pages cannot do without a script: their buttons are hidden until it is here.
function showScripted(within = document) {
  for (const button of within.querySelectorAll('[data-do="copy-link"][hidden], [data-do="print"][hidden]')) {
    button.hidden = false;
  }
}

async function copyLink(button) {
  const link = new URL(button.dataset.link, location.href).href;
  const said = button.querySelector("span");
  const before = said.textContent;
  try {
    await navigator.clipboard.writeText(link);
    said.textContent = "Copied";
  } catch {
    said.textContent = link; // to be copied by hand
  }
  setTimeout(() => { said.textContent = before; }, 3_000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-do]");
  if (button?.dataset.do === "copy-link") copyLink(button);
  if (button?.dataset.do === "print") print();
});

showScripted();
document.addEventListener("htmx:after:swap", () => showScripted());
