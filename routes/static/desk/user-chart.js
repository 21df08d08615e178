// A user's whole story on one axis, drawn by uPlot: the balance, deposits up, withdrawals down, and all alerts.
// It stands in the place of a small picture of the balance, and says less than the table below it.

const HEIGHT = 340;
const LANE = 26; // pixels at the top, for the marks of alerts
const FLOW = 0.32; // of the height, at the bottom, for what came in and went out
const DELAY = 150; // ms from the last change of the stretch to asking for it

const whole = new Intl.NumberFormat("en-US");
const money = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

// A colour as the styles have it now: canvases know no variables.
const colour = (story, name) => getComputedStyle(story.querySelector(`.legend-${name} svg`)).color;

class Story {
  constructor(element) {
    this.element = element;
    this.box = element.querySelector("[data-chart]");
    this.said = element.querySelector("[data-said]");
    this.hasDates = element.dataset.dates === "yes";
    this.asked = 0;
    this.colours = {};
  }

  async begin() {
    const found = await this.fetch();
    if (!found || found.first === undefined) return;
    this.whole = [found.first, found.last];
    for (const part of this.element.querySelectorAll(".scripted, .story-tools")) part.hidden = false;
    this.element.querySelector("[data-picture]").hidden = true;
    this.box.hidden = false;
    this.take(found);
    this.paint();
    this.plot = new uPlot(this.options(), this.series(), this.box);
    this.box.addEventListener("click", (event) => this.open(event));
    this.box.addEventListener("pointermove", (event) => this.pointInLane(event));
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.box);
    this.say();
  }

  end() {
    this.watcher?.disconnect();
    this.plot?.destroy();
  }

  // Answers that come out of order are dropped.
  async fetch(from = null, to = null) {
    const number = ++this.asked;
    const address = new URL(this.element.dataset.timeline, location.href);
    // An end of the whole is left out: so large a number may be none that a script can write exactly.
    if (this.whole && from > this.whole[0]) address.searchParams.set("from", Math.floor(from));
    if (this.whole && to < this.whole[1]) address.searchParams.set("to", Math.ceil(to));
    this.box.ariaBusy = "true";
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json" } });
      if (number !== this.asked) return null;
      if (!answer.ok) throw new Error(`${answer.status}`);
      return await answer.json();
    } catch {
      if (number === this.asked) this.said.textContent = "The chart could not be loaded. The table below has the actions.";
      return null;
    } finally {
      if (number === this.asked) this.box.ariaBusy = "false";
    }
  }

  // What was answered, as columns that each have a place, what came in and went out, and the balance.
  take(found) {
    this.found = found;
    this.isWhole = found.columns.length === 0;
    this.stretch = [found.from, Math.max(found.to, found.from + 1)];
    this.parts = this.isWhole
      ? found.actions.map(([, type, amount, time, balance]) => ({
          start: time, end: time, least: +balance, most: +balance, balance: +balance, actions: 1,
          deposited: type === "deposit" ? +amount : 0, withdrawn: type === "withdraw" ? +amount : 0,
        }))
      : found.columns.map(([start, end, deposits, deposited, withdrawals, withdrawn, least, most, balance]) => ({
          start, end, actions: deposits + withdrawals, deposited: +deposited, withdrawn: +withdrawn,
          least: +least, most: +most, balance: +balance,
        }));
    const balances = this.parts.flatMap((one) => [one.least, one.most]).concat(+found.before);
    this.balances = [Math.min(...balances), Math.max(...balances)];
    this.flow = Math.max(1, ...this.parts.map((one) => Math.max(one.deposited, one.withdrawn)));
  }

  // The step line: the balance before, after each part, and at the end.
  series() {
    const last = this.parts.at(-1);
    const times = [this.stretch[0], ...this.parts.map((one) => one.end), this.stretch[1]];
    const after = last ? last.balance : +this.found.before;
    return [times, [+this.found.before, ...this.parts.map((one) => one.balance), after]];
  }

  paint() {
    for (const name of ["balance", "deposit", "withdraw", "alert", "superseded"]) {
      this.colours[name] = colour(this.element, name);
    }
    const style = getComputedStyle(this.element.querySelector(".hint"));
    this.colours.text = style.color;
  }

  options() {
    const axis = { stroke: () => this.colours.text, font: "12px system-ui, sans-serif" };
    const lines = { stroke: () => this.colours.text, width: 0.25 };
    const named = (_, values) => values.map((one) => (one < this.floor() ? null : one));
    const levels = { ...lines, filter: named };
    return {
      width: this.box.clientWidth || 600,
      height: HEIGHT,
      padding: [LANE, 36, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { time: this.hasDates, range: () => this.stretch },
        y: { range: () => this.padded() },
      },
      axes: [
        { ...axis, grid: lines, ticks: lines, space: 90, values: (_, values, __, ___, step) => this.times(values, step) },
        {
          ...axis, grid: levels, ticks: levels, size: 62, filter: named,
          values: (_, values) => values.map((one) => (one === null ? null : short.format(one))),
        },
      ],
      series: [
        {},
        { scale: "y", stroke: () => this.colours.balance, width: 1.75, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      ],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false } },
      hooks: {
        drawClear: [(plot) => this.drawParts(plot)],
        draw: [(plot) => this.drawAlerts(plot)],
        setCursor: [(plot) => this.point(plot)],
        setSelect: [(plot) => this.select(plot)],
      },
    };
  }

  // The least balance that the axis names: below it is the place of what came in and went out.
  floor() {
    return this.balances[0] - 0.06 * this.span();
  }

  span() {
    const [least, most] = this.balances;
    return most - least || Math.abs(most) || 1;
  }

  padded() {
    const top = this.balances[1] + 0.06 * this.span();
    return [top - (top - this.floor()) / (1 - FLOW), top];
  }

  // Below the line: what came in, up, and went out, down. Behind it: how far the balance reached.
  drawParts(plot) {
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const flow = (value) => bbox.top + bbox.height * (1 - FLOW / 2 - (value / this.flow) * 0.46 * FLOW);
    const [least, most] = this.padded();
    const level = (value) => bbox.top + bbox.height * (1 - (value - least) / (most - least));
    const across = (time) => bbox.left + (bbox.width * (time - this.stretch[0])) / (this.stretch[1] - this.stretch[0]);
    const thick = Math.max(ratio, Math.min(6 * ratio, bbox.width / (2 * Math.max(1, this.parts.length))));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = thick;
    for (const [name, sign, value] of [["deposit", 1, "deposited"], ["withdraw", -1, "withdrawn"]]) {
      ctx.strokeStyle = this.colours[name];
      ctx.globalAlpha = 0.75;
      ctx.beginPath();
      for (const one of this.parts) {
        if (!one[value]) continue;
        const x = across((one.start + one.end) / 2);
        ctx.moveTo(x, flow(0));
        ctx.lineTo(x, flow(sign * one[value]));
      }
      ctx.stroke();
    }
    ctx.fillStyle = this.colours.balance;
    ctx.globalAlpha = 0.22;
    for (const one of this.parts) {
      if (one.least === one.most) continue;
      const left = across(one.start);
      ctx.fillRect(left, level(one.most), Math.max(across(one.end) - left, ratio), level(one.least) - level(one.most));
    }
    ctx.restore();
  }

  // In a lane above: a disc, a diamond for a late one, a cross for one that no longer holds.
  drawAlerts(plot) {
    const { ctx, bbox } = plot;
    const ratio = uPlot.pxRatio;
    const y = bbox.top - (LANE / 2) * ratio;
    const size = 5 * ratio;
    this.marks = [];
    ctx.save();
    ctx.lineWidth = 1.75 * ratio;
    for (const alert of this.found.alerts) {
      const x = plot.valToPos(alert.time, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      this.marks.push({ x: x / ratio - bbox.left / ratio, alert });
      ctx.strokeStyle = ctx.fillStyle = this.colours[alert.superseded ? "superseded" : "alert"];
      ctx.beginPath();
      if (alert.superseded) {
        for (const sign of [1, -1]) {
          ctx.moveTo(x - size, y - sign * size);
          ctx.lineTo(x + size, y + sign * size);
        }
        ctx.stroke();
      } else if (alert.late) {
        ctx.moveTo(x, y - 1.2 * size);
        for (const [right, down] of [[1.2, 0], [0, 1.2], [-1.2, 0]]) ctx.lineTo(x + right * size, y + down * size);
        ctx.closePath();
        ctx.stroke();
      } else {
        ctx.arc(x, y, 0.8 * size, 0, 2 * Math.PI);
        ctx.fill();
      }
    }
    ctx.restore();
  }

  near(left) {
    return (this.marks ?? []).filter((one) => Math.abs(one.x - left) < 8).map((one) => one.alert);
  }

  // The alerts whose marks are under the pointer.
  inLane(event) {
    const { left, top } = this.plot.over.getBoundingClientRect();
    return event.clientY < top && event.clientY > top - LANE ? this.near(event.clientX - left) : [];
  }

  pointInLane(event) {
    const alerts = this.inLane(event);
    this.box.style.cursor = alerts.length ? "pointer" : "";
    if (alerts.length) this.tell(alerts.slice(0, 3).map((alert) => this.named(alert)));
  }

  open(event) {
    const [first] = this.inLane(event);
    const { alerts, list } = this.element.dataset;
    if (first) location.assign(`${alerts}${first.id}?list=${encodeURIComponent(list)}`);
  }

  // Not to be read out at each movement of a pointer.
  tell(words) {
    this.said.ariaLive = "off";
    this.said.textContent = words.filter(Boolean).join(" · ");
  }

  when(time) {
    if (!this.hasDates) return whole.format(time);
    const date = new Date(time * 1000);
    // No date has a name so late.
    return Number.isNaN(date.getTime()) ? whole.format(time) : date.toISOString().replace("T", " ").slice(0, 19);
  }

  // What the axis says at these times, which are `step` seconds apart: dates are written where they change.
  times(values, step) {
    let before = "";
    return values.map((one) => {
      const [date, time] = this.when(one).split(" ");
      if (!time || step >= 86400) return date;
      const isNew = date !== before;
      before = date;
      return `${step < 60 ? time : time.slice(0, 5)}${isNew ? `\n${date}` : ""}`;
    });
  }

  // What is under the pointer.
  point(plot) {
    const { left, idx } = plot.cursor;
    if (left < 0 || idx === null || idx === undefined || this.parts.length === 0) return this.say();
    const one = this.parts[Math.min(Math.max(idx - 1, 0), this.parts.length - 1)];
    const words = [
      one.start === one.end ? this.when(one.end) : `${this.when(one.start)} to ${this.when(one.end)}`,
      one.actions > 1 ? `${whole.format(one.actions)} actions` : null,
      one.deposited ? `deposited ${money.format(one.deposited)}` : null,
      one.withdrawn ? `withdrawn ${money.format(one.withdrawn)}` : null,
      `balance ${money.format(one.balance)}`,
      ...this.near(left).slice(0, 3).map((alert) => this.named(alert)),
    ];
    return this.tell(words);
  }

  named(alert) {
    const odd = [alert.late ? "late" : null, alert.superseded ? "superseded" : null].filter(Boolean).join(", ");
    return `alert ${alert.code}${odd ? ` (${odd})` : ""}: ${alert.title}`;
  }

  // What the chart as a whole shows, and what it does not.
  say() {
    const { size, sampled, alerts, more_alerts } = this.found;
    const words = [`${whole.format(size)} ${size === 1 ? "action" : "actions"}`];
    if (!this.isWhole) {
      words.push("put together in columns: zoom in to see each");
      if (sampled) words.push("the least and most balance of a column are of five moments in it");
    }
    words.push(`${more_alerts ? "some of the alerts" : `${whole.format(alerts.length)} ${alerts.length === 1 ? "alert" : "alerts"}`}`);
    if (size) words.push(`bars up to ${money.format(this.flow)}`);
    this.said.ariaLive = "polite";
    this.said.textContent = words.join(" · ");
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width < 3) return;
    const from = plot.posToVal(left, "x");
    const to = plot.posToVal(left + width, "x");
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.go(from, to);
  }

  // Go to a stretch: at once with what is known, then with what the service says of it.
  go(from, to) {
    const [first, last] = this.whole;
    const length = Math.min(Math.max(to - from, 1), Math.max(last - first, 1));
    const start = Math.min(Math.max(from, first), last - length);
    this.stretch = [start, start + length];
    this.plot.setScale("x", { min: start, max: start + length });
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      const found = await this.fetch(start, start + length);
      if (!found || !this.element.isConnected) return;
      this.take(found);
      this.plot.setData(this.series());
      this.say();
    }, DELAY);
  }

  press(what) {
    const [from, to] = this.stretch;
    const length = to - from;
    if (what === "all") this.go(...this.whole);
    if (what === "closer") this.go(from + length / 4, to - length / 4);
    if (what === "wider") this.go(from - length / 2, to + length / 2);
    if (what === "earlier") this.go(from - length / 2, to - length / 2);
    if (what === "later") this.go(from + length / 2, to + length / 2);
  }

  resize() {
    if (this.box.clientWidth) this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT });
  }

  repaint() {
    this.paint();
    this.plot?.redraw(false);
  }
}

let story = null;

function follow() {
  const element = document.getElementById("story");
  // A morph keeps the figure, and makes what is in it as the server has it.
  if (story?.element === element && !(story.plot && story.box.hidden)) return;
  story?.end();
  story = element && new Story(element);
  story?.begin();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-story]");
  if (button && story?.plot) story.press(button.dataset.story);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => story?.repaint());
document.addEventListener("htmx:after:swap", follow);
follow();
