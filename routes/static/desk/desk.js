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
