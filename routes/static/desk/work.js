// Changes of alerts in a list: each is shown at once, sent in its turn, and corrected by the answer.

const MOST_WAITING = 100; // changes
const PATIENCE = 30_000; // milliseconds
const MOST_UNDONE = 50;

const STATUS = {
  open: ["circle", "Open"],
  acknowledged: ["circle-dot", "Acknowledged"],
  closed: ["circle-check", "Closed"],
};
const OUTCOMES = { true_positive: "true", false_positive: "false", inconclusive: "inconclusive" };

const waiting = [];
const undoable = []; // what was done last stands at the end
let isSending = false;
let isUndoing = false;

export const rowOf = (alert) => document.getElementById(`alert-${alert}`);
export const leaves = (fields) => Boolean(fields.outcome || fields.until);

/** Change an alert of the list: `fields` are those of a form about it. Returns whether it will be sent. */
export function work(alert, fields) {
  const row = rowOf(alert);
  if (isWithoutHtmx()) return false;
  if (waiting.length >= MOST_WAITING) {
    notice("Too many changes are waiting", "The service does not answer. What came before is still to be sent.");
    return false;
  }
  waiting.push({ alert, fields, etag: row?.dataset.etag, restore: row && show(row, fields) });
  sendAll();
  return true;
}

/** Undo what was done last, and before that what came before; after whatever is still to be sent. */
export function undo() {
  if ((!isSending && !undoable.length) || isWithoutHtmx()) return;
  waiting.push({ isUndo: true });
  sendAll();
}

// Answers could not be shown. Forms and links work without it.
function isWithoutHtmx() {
  if (!globalThis.htmx) notice("A part of this page was not loaded", "Reload it to work by keys; its buttons work as it is.");
  return !globalThis.htmx;
}

/** Whether changes are still to be sent. What was sent is not lost if the page is left. */
export const isWaiting = () => waiting.length > 0;

/** Show in a row or on an alert's page what a change will make of it. Returns a function that takes that back. */
export function show(within, { do: act, outcome, until, assignee }) {
  const cells = [within.querySelector(".status-cell, .status")?.closest("td, dd"), within.querySelector(".assignee-cell")];
  const before = cells.map((cell) => cell && [...cell.cloneNode(true).childNodes]);
  const status = outcome ? "closed" : { take: "acknowledged", open: "open" }[act];
  if (status) writeStatus(within.querySelector(".status"), status, outcome);
  const who = { take: me(), mine: me(), assign: assignee, drop: "" }[act];
  if (who !== undefined && cells[1]) cells[1].textContent = who;
  within.classList.add("pending");
  within.classList.toggle("gone", Boolean(outcome || until));
  return () => {
    cells.forEach((cell, n) => cell?.replaceChildren(...before[n]));
    within.classList.remove("pending", "gone");
  };
}

function writeStatus(shown, status, outcome) {
  if (!shown) return;
  const [icon, name] = STATUS[status];
  const use = shown.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
  shown.className = `status status-${status}`;
  shown.lastChild.replaceWith(outcome ? `${name}: ${OUTCOMES[outcome]}` : name);
}

const me = () => document.getElementById("keys").dataset.me;

async function sendAll() {
  if (isSending) return;
  isSending = true;
  while (waiting.length) {
    const change = waiting.shift();
    await send(change.isUndo ? undoing() : change);
  }
  isSending = false;
}

function undoing() {
  const last = undoable.pop();
  if (!last) return null;
  const row = rowOf(last.alert);
  const restore = row && show(row, {});
  return { ...last, isUndo: true, etag: row?.dataset.etag ?? last.etag, restore };
}

async function send(change) {
  if (!change) return;
  const { alert, fields, etag } = change;
  if (change.isUndo && !rowOf(alert)) return undoOnPage(change);
  const list = listOf();
  const body = new URLSearchParams({ ...fields, etag, then: "row", ...(list && { list }) });
  const headers = { "HX-Request": "true", "HX-Target": "tr" };
  let answer, text;
  loading(1);
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    answer = await fetch(`/desk/alerts/${alert}/work`, { method: "POST", body, headers, signal, keepalive: true });
    text = await answer.text();
  } catch {
    refused(change);
    notice("No answer", "The service could not be reached, or took too long.", change);
    return;
  } finally {
    loading(-1);
  }
  isUndoing = change.isUndo;
  if (answer.ok) return accepted(change, answer.headers.get("ETag")?.replaceAll('"', ""), text);
  refused(change);
  await htmx.swap({ text, target: document.getElementById("notices"), swap: "innerHTML", sourceElement: document.body });
  if (answer.status !== 412 && answer.status !== 400) offerAgain(change);
}

async function accepted(change, etag, text) {
  await htmx.swap({ text, target: document.body, swap: "none", sourceElement: document.body });
  for (const other of waiting) if (other.alert === change.alert) other.etag = etag;
  const row = rowOf(change.alert);
  if (!row) return;
  const others = waiting.filter((other) => other.alert === change.alert);
  row.classList.toggle("gone", leaves(change.fields));
  for (const other of others) other.restore = show(row, other.fields);
}

// What was to be done after it was meant for an alert as it is not.
function refused(change) {
  change.restore?.();
  if (change.isUndo) return;
  for (let n = waiting.length - 1; n >= 0; n -= 1) {
    if (waiting[n].alert !== change.alert) continue;
    const [dropped] = waiting.splice(n, 1);
    notice("Not sent", "What came before it was not accepted.", dropped);
  }
}

async function undoOnPage({ alert, fields, etag }) {
  const values = { ...fields, etag, then: "stay" };
  isUndoing = true;
  await htmx.ajax("POST", `/desk/alerts/${alert}/work`, { target: "#main", swap: "outerMorph", values });
}

/** The query of the list that is shown, or from which the page was opened. */
export function listOf() {
  const asked = new URLSearchParams(location.search);
  if (location.pathname !== "/desk/") return asked.get("list") ?? "";
  asked.delete("done");
  return asked.toString();
}

// What was done last is kept, to be undone after its line is gone; but not what was undone.

export function remember(form) {
  const { first, last, etag } = Object.fromEntries(new FormData(form));
  if (isUndoing) form.querySelector("kbd").remove(); // the key goes on to what was done before
  else undoable.push({ alert: form.dataset.work, fields: { do: "undo", first, last }, etag });
  if (undoable.length > MOST_UNDONE) undoable.shift();
  isUndoing = false;
}

/** Undo by the button of the line that says what was done: then it is not undone once more. */
export function forget(form) {
  const last = undoable.at(-1);
  if (last?.alert === form.dataset.work && last.fields.first === new FormData(form).get("first")) undoable.pop();
  isUndoing = true;
}

// What went wrong, and a bar while something takes long.

/** Show a card that says what went wrong, what was typed, and offers to send a change again. */
export function notice(title, detail, change) {
  const card = document.createElement("div");
  card.className = "card problem";
  const heading = document.createElement("h2");
  const text = document.createElement("p");
  heading.textContent = title;
  text.textContent = detail;
  card.append(heading, text);
  document.getElementById("notices").append(card);
  if (change) offerAgain(change, card);
  return card;
}

function offerAgain(change, card = document.querySelector("#notices .card:last-of-type")) {
  if (change.fields.note) {
    const typed = document.createElement("blockquote");
    typed.textContent = change.fields.note;
    card.append(typed);
  }
  addRetry(card, () => (change.isUndo ? undoable.push(change) && undo() : work(change.alert, change.fields)));
}

/** Add a button to a card that does something again. */
export function addRetry(card, again) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Retry";
  button.addEventListener("click", () => {
    card.remove();
    again();
  });
  card.append(button);
}

let loadings = 0;
const bar = document.createElement("div");
bar.className = "loading-bar";
bar.hidden = true;
document.body.append(bar);

/** Begin (1) or end (-1) to wait for something. */
export function loading(change) {
  // What began before this script was there only ends for it.
  loadings = Math.max(0, loadings + change);
  if (!loadings) bar.hidden = true;
  else setTimeout(() => { bar.hidden = !loadings; }, 200);
}
