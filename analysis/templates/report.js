"use strict";
(() => {
  const place = document.getElementById("charts");
  const figure = JSON.parse(document.getElementById("figure").textContent);
  const themes = {
    light: { ink: "#3a404a", grid: "#e6e9ee", hover: "#ffffff" },
    dark: { ink: "#c3cad4", grid: "#2a303a", hover: "#222832" },
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function draw(theme, width) {
    const layout = structuredClone(width < 640 ? figure.narrow : figure.wide);
    layout.width = width;
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.ink };
    layout.hoverlabel = { bgcolor: theme.hover, bordercolor: theme.grid, font: { color: theme.ink } };
    layout.xaxis.spikecolor = theme.ink;
    for (const [name, axis] of Object.entries(layout)) {
      if (/^[xy]axis/.test(name)) Object.assign(axis, { gridcolor: theme.grid, linecolor: theme.grid });
    }
    Plotly.react(place, figure.traces, layout, { displayModeBar: false, displaylogo: false });
  }

  const onScreen = () => draw(dark.matches ? themes.dark : themes.light, place.clientWidth);
  onScreen();
  dark.addEventListener("change", onScreen);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes the height only
    width = innerWidth;
    onScreen();
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    draw(themes.light, 700);
  });
  addEventListener("afterprint", onScreen);
})();
