// Beside Locust's own page: the last runs, how far their analyses are, and their reports.
"use strict";
(() => {
  const POLL_MS = 2000;
  const SHOWN = 3;
  const panel = document.createElement("section");
  panel.id = "swarmscope-runs";
  panel.setAttribute("aria-label", "Runs");
  panel.setAttribute("aria-live", "polite");
  panel.hidden = true;
  panel.style.cssText =
    "position:fixed;right:16px;bottom:52px;z-index:10;max-width:min(560px,calc(100vw - 32px));padding:10px 14px;" +
    "border-radius:6px;box-shadow:0 2px 10px rgba(0,0,0,.35);background:#14532d;color:#fff;" +
    "font:14px/1.5 Roboto,Helvetica,Arial,sans-serif";
  document.body.append(panel);

  function element(tag, text, properties = {}) {
    const made = Object.assign(document.createElement(tag), properties);
    made.textContent = text;
    return made;
  }

  function link(run, file) {
    const made = element("a", file.title, {
      href: `./swarmscope/runs/${encodeURIComponent(run.id)}/${encodeURIComponent(file.name)}`,
      target: "_blank",
      rel: "noopener",
    });
    made.style.cssText = "color:#fff;font-weight:bold;margin-right:10px";
    return made;
  }

  function analyzeButton(run) {
    const made = element("button", "Analyse", { type: "button" });
    made.addEventListener("click", async () => {
      made.disabled = true;
      await fetch(`./swarmscope/runs/${encodeURIComponent(run.id)}/analysis`, { method: "POST" });
      show();
    });
    return made;
  }

  function line(run) {
    const made = document.createElement("div");
    const analysis = run.analysis ? ` · analysis: ${run.analysis.message}` : "";
    made.append(element("div", `${run.id}: ${run.state}${analysis}`));
    const actions = document.createElement("div");
    run.files.forEach((file) => actions.append(link(run, file)));
    if (run.may_start) actions.append(analyzeButton(run));
    made.append(actions);
    return made;
  }

  let shown = "";
  async function show() {
    let runs;
    try {
      const answer = await fetch("./swarmscope/runs");
      if (!answer.ok || answer.redirected) return;
      runs = (await answer.json()).runs.slice(0, SHOWN);
    } catch {
      return; // Locust has ended; its own page says so
    }
    const now = JSON.stringify(runs);
    if (now === shown) return; // a link must not go away under the pointer
    shown = now;
    panel.hidden = runs.length === 0;
    panel.replaceChildren(...runs.map(line));
  }

  show();
  setInterval(show, POLL_MS);
})();
