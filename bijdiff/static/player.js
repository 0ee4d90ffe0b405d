// The denoising player. It lives in a shadow root on top of its static twin, so that neither styles the page nor is styled by it,
// and so that a saved notebook, which keeps only the twin, is complete without it. All data come once; the kernel is not asked again.

const COLOURS = { step: "step", confidence: "confidence" };

// `tint` has a twin of the same name in dashboard.py.
export function tint(mode, v) {
  if (mode === COLOURS.confidence) return `rgba(234, 88, 12, ${(0.05 + 0.45 * (1 - Math.sqrt(v))).toFixed(3)})`;
  const mix = (a, b) => Math.round(a + (b - a) * v);
  return `rgba(${mix(20, 109)}, ${mix(170, 60)}, ${mix(170, 237)}, ${(0.12 + 0.43 * v).toFixed(3)})`;
}

const solid = (v) => tint(COLOURS.step, v).replace(/[\d.]+\)$/, `${(0.45 + 0.45 * v).toFixed(3)})`);  // of the same colour, for thin bars

export function decode(meta, bytes) {
  const { samples: b, length: l, changes: n, candidates: k } = meta;
  let at = 0;
  const take = (Type, count) => new Type(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + (at += 4 * count)));
  const start = take(Int32Array, b * l), fixed = take(Int32Array, b * l);
  const [when, row, column, chosen] = [0, 1, 2, 3].map(() => take(Int32Array, n));
  const ids = take(Int32Array, n * k), chance = take(Float32Array, n), chances = take(Float32Array, n * k);
  const changes = Array.from({ length: b * l }, () => []);
  for (let i = 0; i < n; i++) {
    const options = [];
    for (let j = i * k; j < (i + 1) * k; j++) if (ids[j] >= 0) options.push({ token: ids[j], p: chances[j] });
    changes[row[i] * l + column[i]].push({ step: when[i], token: chosen[i], p: chance[i], options });
  }
  for (const list of changes) list.sort((x, y) => x.step - y.step);
  return { start, fixed, changes };
}

const element = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const percent = (p) => Number.isNaN(p) ? "edited in" : p >= 0.9995 ? "100%" : p < 0.001 ? "<0.1%" : `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}%`;
const ICON = {
  play: '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4.5 2.6v10.8a.6.6 0 0 0 .92.5l8.3-5.4a.6.6 0 0 0 0-1L5.42 2.1a.6.6 0 0 0-.92.5z"/></svg>',
  pause: '<svg viewBox="0 0 16 16" aria-hidden="true"><rect x="3.5" y="2.5" width="3.2" height="11" rx=".8"/><rect x="9.3" y="2.5" width="3.2" height="11" rx=".8"/></svg>',
};

export function mount(root, model) {
  const meta = model.get("meta"), { start, fixed, changes } = decode(meta, model.get("data"));
  const { steps, length, samples, mask, pieces, glued } = meta;
  let sample = meta.sample, step = steps, mode = COLOURS.step, timer = null, speed = 1, focused = 0;

  // ---- what is where, and when
  const at = (position, when) => {  // the last change up to a step
    const list = changes[sample * length + position];
    let i = list.length - 1;
    while (i >= 0 && list[i].step > when) i--;
    return list[i] ?? null;
  };
  const token = (position, when) => at(position, when)?.token ?? start[sample * length + position];
  const masked = (when) => { let n = 0; for (let i = 0; i < length; i++) n += token(i, when) === mask; return n; };

  // ---- the page
  const play = element("button", { class: "play", type: "button", title: "Play or pause (space)" });
  const counter = element("div", { class: "counter" });
  const bars = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const range = element("input", { type: "range", min: 0, max: steps, value: step, "aria-label": "Step of denoising" });
  const toggle = element("div", { class: "toggle", role: "group", "aria-label": "Colour by" });
  const speeds = element("select", { class: "speed", "aria-label": "Speed", title: "Speed" });
  for (const s of [0.25, 0.5, 1, 2, 4]) speeds.append(element("option", { value: s, ...(s === 1 ? { selected: "" } : {}) }, `${s}×`));
  const legend = element("div", { class: "legend" });
  const grid = element("div", { class: "grid", role: "list", "aria-label": "Tokens" });
  const card = element("div", { class: "card", role: "tooltip" });
  card.hidden = true;
  const chooser = element("div", { class: "chooser", role: "group", "aria-label": "Sample" });
  const previous = element("button", { type: "button", "aria-label": "Previous sample" }, "‹");
  const next = element("button", { type: "button", "aria-label": "Next sample" }, "›");
  const which = element("select", { class: "sample", "aria-label": "Sample" });
  for (let i = 0; i < samples; i++) which.append(element("option", { value: i }, `${i + 1} of ${samples}`));
  if (samples > 1) chooser.append("sample", previous, which, next);
  const root_ = element("section", { class: "player", role: "group", "aria-label": "Denoising player", "data-lm-suppress-shortcuts": "true" },
    element("div", { class: "bar" }, play, element("div", { class: "time" }, bars, range), counter),
    grid,
    element("div", { class: "foot" }, toggle, legend, element("span", { class: "room" }), chooser, speeds),
    card);
  const style = element("style");
  style.textContent = model.get("styles");
  root.replaceChildren(style, root_);

  for (const [value, name] of [[COLOURS.step, "reveal step"], [COLOURS.confidence, "confidence"]]) {
    const button = element("button", { type: "button", "data-mode": value }, name);
    button.addEventListener("click", () => { mode = value; paint(); });
    toggle.append(button);
  }

  // ---- the text
  let cells = [];
  const build = () => {
    grid.replaceChildren();
    cells = [];
    let line = null;
    for (let i = 0; i < length; i++) {
      if (!line) grid.append(line = element("div", { class: "line", role: "presentation" }));
      const last = token(i, steps);
      const now = element("span", { class: "now" });
      const cell = element("span", { class: "cell", role: "listitem", tabindex: i === focused ? 0 : -1, "data-position": i },
        element("span", { class: "width", "aria-hidden": "true" }, last === mask ? "    " : pieces[last]), now);
      if (glued[last] && i) cells[i - 1].cell.classList.add("joined");
      if (/^<.+>$/.test(pieces[last])) cell.classList.add("special");
      line.append(cell);
      cells.push({ cell, now, shown: null });
      if (last !== mask && pieces[last].endsWith("↵")) line = null;
    }
    const counts = new Array(steps + 1).fill(0);
    for (let i = 0; i < length; i++) for (const c of changes[sample * length + i]) if (c.token !== mask) counts[c.step]++;
    const most = Math.max(1, ...counts);
    bars.setAttribute("viewBox", `0 0 ${steps * 10} 100`);
    bars.setAttribute("preserveAspectRatio", "none");
    bars.setAttribute("aria-hidden", "true");
    bars.replaceChildren(...counts.map((n, k) => {
      const bar = document.createElementNS(bars.namespaceURI, "rect"), height = n ? Math.max(6, 100 * n / most) : k ? 2 : 0;
      for (const [name, value] of Object.entries({ x: 10 * k - 3.8, y: 100 - height, width: 7.6, height })) bar.setAttribute(name, value);
      return bar;
    }));
  };

  const describe = (i) => {
    const c = at(i, step), piece = pieces[token(i, step)];
    if (token(i, step) === mask) return `position ${i + 1}: masked`;
    if (fixed[sample * length + i]) return `position ${i + 1}: ${piece}, given by the prompt`;
    return c ? `position ${i + 1}: ${piece}, revealed in step ${c.step}, probability ${percent(c.p)}` : `position ${i + 1}: ${piece}`;
  };

  const paint = () => {
    let left = 0;
    cells.forEach((entry, i) => {
      const { cell, now } = entry, id = token(i, step), c = at(i, step), hidden = id === mask, given = fixed[sample * length + i] === 1;
      left += hidden;
      const fresh = c !== null && c.step === step && !hidden;
      const colour = hidden || given || !c ? "" : Number.isNaN(c.p) && mode === COLOURS.confidence ? "" : tint(mode, mode === COLOURS.step ? (c.step - 1) / Math.max(1, steps - 1) : c.p);
      const shown = `${id}|${colour}|${fresh}`;
      if (shown === entry.shown) return;
      entry.shown = shown;
      now.textContent = hidden ? "" : pieces[id];
      cell.style.setProperty("--tint", colour || "transparent");
      cell.classList.toggle("masked", hidden);
      cell.classList.toggle("given", given);
      cell.classList.toggle("fresh", fresh);
      cell.setAttribute("aria-label", describe(i));
    });
    [...bars.children].forEach((bar, k) => {
      bar.style.fill = k > step || mode !== COLOURS.step ? "" : solid((k - 1) / Math.max(1, steps - 1));
      bar.setAttribute("class", k > step ? "ahead" : k === step ? "here" : "past");
    });
    range.value = step;
    range.setAttribute("aria-valuetext", `step ${step} of ${steps}, ${left} masked`);
    counter.replaceChildren(element("b", {}, `${step}`), ` of ${steps}`, element("span", { class: "left" }, left ? `${left} masked` : "none masked"));
    play.innerHTML = timer ? ICON.pause : ICON.play;
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
    which.value = sample;
    speeds.value = speed;
    for (const b of toggle.children) b.setAttribute("aria-pressed", b.dataset.mode === mode);
    const chips = element("span", { class: "chips", "aria-hidden": "true" });
    for (let j = 0; j < 7; j++) chips.append(Object.assign(element("i"), { style: `background: ${tint(mode, j / 6)}` }));
    legend.replaceChildren(...(mode === COLOURS.step ? ["early", chips, "late"] : ["unsure", chips, "sure"]));
    if (!card.hidden) show(card.position);
  };

  // ---- the card of candidates
  const show = (i) => {
    const c = at(i, step) ?? (token(i, step) === mask ? null : { p: NaN, options: [], step: null });
    const later = changes[sample * length + i].find((x) => x.step > step && x.token !== mask);
    const given = fixed[sample * length + i] === 1, hidden = token(i, step) === mask;
    card.replaceChildren(element("div", { class: "what" },
      hidden ? (later ? `masked until step ${later.step}` : "masked") : given ? "given by the prompt" : c.step ? `step ${c.step}` : "from the start",
      element("span", {}, `position ${i + 1}`)));
    if (!hidden && !given && c.options) {
      const rows = c.options.some((o) => o.token === c.token) || c.token === undefined ? c.options : [...c.options, { token: c.token, p: c.p }];
      for (const o of rows) {
        const row = element("div", { class: o.token === c.token ? "option chosen" : "option" },
          element("span", { class: "piece" }, pieces[o.token]), element("span", { class: "track" }, element("i")), element("span", { class: "p" }, percent(o.p)));
        row.querySelector("i").style.width = `${100 * (o.p || 0)}%`;
        card.append(row);
      }
    }
    card.hidden = false;
    card.position = i;
    const box = root_.getBoundingClientRect(), cell = cells[i].cell.getBoundingClientRect(), own = card.getBoundingClientRect();
    const x = Math.min(Math.max(6, cell.left - box.left + cell.width / 2 - own.width / 2), box.width - own.width - 6);
    const above = cell.top - box.top - own.height - 8;
    card.style.transform = `translate(${x}px, ${above > -own.height / 2 && cell.top - own.height > 60 ? above : cell.bottom - box.top + 8}px)`;
  };
  const hide = () => { card.hidden = true; };
  const positionOf = (event) => { const cell = event.target.closest?.(".cell"); return cell ? Number(cell.dataset.position) : -1; };
  grid.addEventListener("pointerover", (e) => { const i = positionOf(e); if (i >= 0) show(i); else hide(); });
  grid.addEventListener("pointerleave", hide);
  grid.addEventListener("focusin", (e) => { const i = positionOf(e); if (i >= 0) { move(i, false); show(i); } });
  grid.addEventListener("focusout", hide);
  const move = (i, focus = true) => {
    if (i < 0 || i >= length) return;
    cells[focused].cell.tabIndex = -1;
    cells[focused = i].cell.tabIndex = 0;
    if (focus) cells[i].cell.focus();
  };

  // ---- time
  const go = (to) => { step = Math.min(steps, Math.max(0, to)); paint(); };
  const pace = () => Math.min(600, Math.max(60, 9000 / steps)) / speed;
  const stop = () => { clearInterval(timer); timer = null; };
  const tick = () => {
    if (!root_.isConnected) return stop();
    if (step < steps) step++;
    if (step >= steps) stop();
    paint();
  };
  const run = () => { stop(); timer = setInterval(tick, pace()); };
  const toggle_ = () => {
    if (timer) stop();
    else { if (step >= steps) step = 0; run(); }
    paint();
  };
  play.addEventListener("click", toggle_);
  range.addEventListener("input", () => { stop(); go(Number(range.value)); });
  speeds.addEventListener("change", () => { speed = Number(speeds.value); if (timer) run(); });
  const choose = (i) => { sample = (i + samples) % samples; focused = 0; hide(); build(); paint(); };
  which.addEventListener("change", () => choose(Number(which.value)));
  previous.addEventListener("click", () => choose(sample - 1));
  next.addEventListener("click", () => choose(sample + 1));
  root_.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const i = positionOf(e), button = e.target.closest("button"), select = e.target.closest("select");
    const shift = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (shift && i >= 0) move(i + shift);
    else if (shift && !select) { stop(); go(step + shift); }
    else if (e.key === "," || e.key === ".") { stop(); go(step + (e.key === "," ? -1 : 1)); }
    else if ((e.key === "Home" || e.key === "End") && !select) { if (i >= 0) move(e.key === "Home" ? 0 : length - 1); else { stop(); go(e.key === "Home" ? 0 : steps); } }
    else if (e.key === " " && !button && !select) toggle_();
    else if (e.key === "Escape" && !card.hidden) hide();
    else return void e.stopPropagation();
    e.preventDefault();
    e.stopPropagation();
  });

  build();
  paint();
  return () => { stop(); root.replaceChildren(element("slot")); };
}

// A front end that knows the model shows the player in place of every static twin that stands in the page, now or later.
function initialize({ model }) {
  const twin = model.get("twin"), mounted = new Map();
  let waiting = false;
  const look = () => {
    waiting = false;
    for (const [host, unmount] of mounted) if (!host.isConnected) { unmount(); mounted.delete(host); }
    for (const host of document.getElementsByClassName(twin)) {
      if (mounted.has(host)) continue;
      mounted.set(host, mount(host.shadowRoot ?? host.attachShadow({ mode: "open" }), model));
    }
  };
  const observer = new MutationObserver(() => { if (!waiting) { waiting = true; requestAnimationFrame(look); } });
  observer.observe(document.body, { childList: true, subtree: true });
  look();
  return () => { observer.disconnect(); for (const unmount of mounted.values()) unmount(); mounted.clear(); };
}

// As a widget of its own, wherever there is no twin.
const render = ({ model, el }) => mount(el.shadowRoot ?? el.attachShadow({ mode: "open" }), model);

export default { initialize, render };
