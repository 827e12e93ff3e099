"use strict";
(() => {
  const { time, latency } = JSON.parse(document.getElementById("charts").textContent);
  const places = { time: document.getElementById("time-charts"), latency: document.getElementById("latency-chart") };
  const themes = {
    light: { ink: "#3a404a", grid: "#e6e9ee", hover: "#ffffff" },
    dark: { ink: "#c3cad4", grid: "#2a303a", hover: "#222832" },
    paper: { ink: "#000000", grid: "#dddddd", hover: "#ffffff", height: 780 }, // with its heading on one sheet
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const { bins } = time;
  const span = [bins.starts_at, bins.starts_at + bins.width_s * time.x.length];
  let seen = span; // epoch seconds of the stretch that is looked at

  const iso = (at) => new Date(at * 1000).toISOString().replace("T", " ").replace("Z", "");
  const epoch = (text) => Date.parse(`${text.replace(" ", "T")}Z`) / 1000;
  const whole = () => seen[0] <= span[0] && seen[1] >= span[1];
  const count = (number) => number.toLocaleString("en-US");
  // As the rest of the page writes shares: what is not nothing never reads as 0.
  function share(part, total) {
    const percent = 100 * (part / total);
    if (percent > 0 && percent < 0.01) return "<0.01 %";
    if (percent > 99.99 && percent < 100) return ">99.99 %";
    return `${percent.toFixed(percent === 0 || percent === 100 ? 0 : 2)} %`;
  }
  const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

  // The bins that lie in the stretch by their middle: [first, beyond the last].
  function binsSeen() {
    const bin = (at) => Math.round((at - bins.starts_at) / bins.width_s);
    const first = Math.min(Math.max(bin(seen[0]), 0), time.x.length - 1);
    return [first, Math.min(Math.max(bin(seen[1]), first + 1), time.x.length)];
  }

  function themed(layout, theme, width) {
    layout.width = width;
    layout.height = Math.min(layout.height, theme.height ?? layout.height);
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.ink };
    layout.hoverlabel = { bgcolor: theme.hover, bordercolor: theme.grid, font: { color: theme.ink } };
    for (const [name, axis] of Object.entries(layout)) {
      if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: theme.grid, linecolor: theme.grid, spikecolor: theme.ink });
    }
    return layout;
  }

  const layoutOf = (figure, width) => structuredClone(width < 640 ? figure.narrow : figure.wide);
  const options = { displayModeBar: false, doubleClick: false, typesetMath: false };

  function drawTime(theme, width) {
    const layout = themed(layoutOf(time, width), theme, width);
    layout.xaxis.range = seen.map(iso);
    Plotly.react(places.time, time.traces.map((trace) => ({ ...trace, x: time.x })), layout, options);
  }

  // Percentiles of one curve's requests in the stretches [first, beyond), from their histograms: within the width of a bucket.
  function percentiles(stretches, first, beyond, levels) {
    const buckets = new Map();
    let requests = 0;
    for (let stretch = first; stretch < beyond; stretch += 1) {
      const flat = stretches[stretch] ?? [];
      for (let i = 0; i < flat.length; i += 2) {
        buckets.set(flat[i], (buckets.get(flat[i]) ?? 0) + flat[i + 1]);
        requests += flat[i + 1];
      }
    }
    const sorted = [...buckets].sort((one, other) => one[0] - other[0]);
    const { least_ms: least, ratio } = latency.stretches;
    let bucket = 0;
    let below = 0; // requests in the buckets before
    return levels.map((nines) => {
      const above = requests * 10 ** -nines;
      if (above < 1 - 1e-9) return null;
      while (bucket < sorted.length - 1 && below + sorted[bucket][1] < requests - above) below += sorted[bucket++][1];
      const share = Math.max(0, Math.min(1, (requests - above - below) / sorted[bucket][1]));
      return Number((least * ratio ** (sorted[bucket][0] + share)).toPrecision(4));
    });
  }

  function drawLatency(theme, width) {
    const layout = themed(layoutOf(latency, width), theme, width);
    let { traces } = latency;
    if (!whole()) {
      const [first, beyond] = binsSeen().map((bin, end) => Math[end ? "ceil" : "floor"](bin / latency.stretches.bins));
      const [title] = layout.annotations;
      title.text += " · the stretch chosen above, within 10 %; the whole run is dotted";
      if (width < 640) title.text = "<b>Response time, ms</b> · stretch chosen (dotted: all)";
      const dotted = { ...traces[0], showlegend: false, hoverinfo: "skip", hovertemplate: null, line: { ...traces[0].line, width: 1.4, dash: "dot" } };
      traces = [...traces.map((trace, i) => ({ ...trace, y: percentiles(latency.stretches.counts[i], first, beyond, trace.x) })), dotted];
    }
    Plotly.react(places.latency, traces, layout, options);
  }

  function say() {
    const [first, beyond] = binsSeen();
    const sum = (values) => values.slice(first, beyond).reduce((total, one) => total + one, 0);
    const clock = (at) => iso(at).slice(11, 19);
    const seconds = (beyond - first) * bins.width_s;
    const from = bins.starts_at + first * bins.width_s;
    const words = [whole() ? "Whole run" : `${clock(from)} to ${clock(from + seconds)} UTC (${count(seconds)} s)`];
    if (bins.sent) {
      const [sent, failed] = [sum(bins.sent), sum(bins.failed)];
      words.push(plural(sent, "request"), `${count(failed)} failed${sent ? ` (${share(failed, sent)})` : ""}`);
    }
    if (bins.cold_starts) words.push(plural(sum(bins.cold_starts), "cold start"));
    document.getElementById("stretch").textContent = words.join(" · ");
    document.querySelectorAll("[data-move]").forEach((button) => {
      button.disabled = button.dataset.move === "in" ? beyond - first < 2 : whole();
    });
  }

  function draw(theme, widths) {
    drawTime(theme, widths.time);
    if (latency) drawLatency(theme, widths.latency);
    say();
  }

  let printing = false; // browsers report other sizes and schemes meanwhile
  function show() {
    if (printing) draw(themes.paper, { time: 700, latency: 700 });
    else draw(dark.matches ? themes.dark : themes.light, { time: places.time.clientWidth, latency: places.latency?.clientWidth });
  }

  function look(from, to) {
    const seconds = Math.min(Math.max(to - from, bins.width_s), span[1] - span[0]);
    const start = Math.min(Math.max(from, span[0]), span[1] - seconds);
    seen = [start, start + seconds];
    show();
  }

  document.querySelector(".stretch").hidden = false;
  show();
  places.time.on("plotly_relayout", (change) => {
    const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (range[0] && range[1]) look(...range.map((one) => epoch(String(one))));
  });
  places.time.on("plotly_doubleclick", () => look(...span));
  document.querySelectorAll("[data-move]").forEach((button) => {
    button.addEventListener("click", () => {
      const [from, to] = seen;
      const quarter = (to - from) / 4;
      const step = Math.max(quarter, bins.width_s);
      const moves = { in: [from + quarter, to - quarter], back: [from - step, to - step], on: [from + step, to + step], all: span };
      look(...moves[button.dataset.move]);
    });
  });
  dark.addEventListener("change", show);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes the height only
    width = innerWidth;
    show();
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    printing = true;
    show();
  });
  addEventListener("afterprint", () => {
    printing = false;
    show();
  });
})();
