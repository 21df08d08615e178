// Asks every few seconds what is new in the list shown, and renews its rows in place. Nothing moves by itself.

const SHORTEST = 5_000; // milliseconds from an answer to the next question
const LONGEST = 60_000;
const MOST_NEW = 1_000;

const list = () => document.getElementById("list");
const rowOf = (id) => document.getElementById(`alert-${id}`);
const shownIds = () => [...document.querySelectorAll("#list #alerts > [data-alert]")].map((row) => row.dataset.alert);

let tag = ""; // of the last answer, or of the page
let tagOfPage = "";
let timer = 0;
let empties = 0; // answers without news, one after another
let asked = 0; // questions; only the answer to the last one counts
let isAsking = false;
let isOver = false; // nobody is signed in any more
let isMore = false;
const news = new Set(); // ids that fit and are not shown

function begin() {
  asked += 1;
  isAsking = false;
  tagOfPage = tag = list()?.dataset.tag ?? tag;
  news.clear();
  isMore = false;
  empties = 0;
  showNews();
  arm();
}

function arm() {
  clearTimeout(timer);
  if (!isOver && !document.hidden) timer = setTimeout(ask, Math.min(SHORTEST * (empties + 1), LONGEST));
}

async function ask() {
  clearTimeout(timer);
  const number = (asked += 1);
  isAsking = true;
  const query = new URLSearchParams(list()?.dataset.pulse ?? "");
  const ends = list()?.dataset.end;
  const shown = shownIds();
  if (tag) query.set("since", tag);
  if (ends) query.set("ends", ends);
  if (shown.length) query.set("shown", shown.join(","));
  let isNews = false;
  try {
    const answer = await fetch(`/desk/pulse?${query}`, { headers: { Accept: "application/json" } });
    const said = answer.status === 200 ? await answer.json() : null;
    if (number !== asked) return;
    if (answer.status === 401) return end();
    if (answer.ok) tag = answer.headers.get("Pulse-Tag") ?? tag;
    if (said) isNews = await take(said, number);
  } catch {
    // No answer: as if there were no news.
  }
  if (number !== asked) return;
  isAsking = false;
  empties = isNews ? 0 : empties + 1;
  arm();
}

/** Show what an answer says. Returns whether anything of it was not known. */
async function take({ new: fits, gone, changed, more, rail }, number) {
  for (const [name, count] of Object.entries(rail)) {
    const shown = document.querySelector(`[data-count="${name}"]`);
    if (shown) shown.textContent = count;
  }
  if (!list()) return false;
  const before = news.size;
  for (const id of fits) if (news.size < MOST_NEW && !rowOf(id)) news.add(id);
  for (const id of gone) news.delete(id);
  isMore ||= news.size > 0 && (more || news.size >= MOST_NEW);
  showNews();
  const isOlder = ([id, touched]) => rowOf(id) && rowOf(id).dataset.touched < touched;
  const old = Object.entries(changed).filter(isOlder).map(([id]) => id);
  if (old.length) await renew(old, number);
  return news.size !== before || old.length > 0;
}

function showNews() {
  const pill = document.querySelector('[data-do="show-new"]');
  if (!pill) return;
  pill.hidden = news.size === 0;
  pill.querySelector("span").textContent = `${news.size.toLocaleString("en")}${isMore ? "+" : ""} new – show`;
}

/** Renew rows where they stand. What is selected stays so, as it was when it was selected. */
async function renew(ids, number) {
  const query = new URLSearchParams({ ids: ids.join(","), list: list().dataset.pulse });
  const answer = await fetch(`/desk/rows?${query}`, { headers: { "HX-Request": "true" } });
  const text = await answer.text();
  if (!answer.ok || number !== asked || ids.some((id) => !rowOf(id) || rowOf(id).matches(".pending"))) return;
  const chosen = [...document.querySelectorAll('#alerts input[name="id"]:checked')].map((box) => [box.closest("tr").id, box.value]);
  await htmx.swap({ text, target: document.body, swap: "none", sourceElement: document.body });
  for (const [row, value] of chosen) {
    const box = document.getElementById(row)?.querySelector('input[name="id"]');
    if (box) [box.checked, box.value] = [true, value];
  }
}

function end() {
  isOver = true;
  clearTimeout(timer);
  const link = document.createElement("a");
  link.href = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Sign in";
  const bar = document.getElementById("bar");
  bar.replaceChildren("Your session has ended. ", link);
  bar.hidden = false;
}

function wake() {
  if (!empties || isAsking) return;
  empties = 0;
  arm();
}

for (const input of ["keydown", "pointerdown", "wheel"]) document.addEventListener(input, wake, { passive: true });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!isOver && !isAsking) {
    empties = 0;
    ask();
  }
});
document.addEventListener("htmx:after:swap", () => {
  if ((list()?.dataset.tag ?? tagOfPage) !== tagOfPage) begin();
});
begin();
