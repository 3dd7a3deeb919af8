(() => {
  const bar = document.querySelector(".toolbar");
  const examples = [...document.querySelectorAll("#browser > details")];
  const texts = examples.map(node => node.textContent.toLowerCase());
  const kind = document.getElementById("kind");
  const words = document.getElementById("words");
  const count = document.getElementById("count");
  const at = document.getElementById("at");
  let current = Math.max(0, examples.findIndex(node => node.open));

  const shown = () => examples.filter(node => !node.hidden);

  function filter() {
    const verdict = bar.querySelector("input[name=verdict]:checked").value;
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    examples.forEach((node, k) => {
      node.hidden = !(
        (!verdict || node.dataset.verdict === verdict) &&
        (!kind || !kind.value || node.dataset.kind === kind.value) &&
        wanted.every(word => texts[k].includes(word))
      );
    });
    const number = shown().length;
    at.textContent = "";
    count.textContent = number === examples.length ? `${number} examples` : `${number} of ${examples.length} examples`;
  }

  function leaf(step, focused) {
    const left = shown();
    const here = left.indexOf(examples[current]);
    // Where the current one is filtered out, the nearest one that is left in that direction comes next.
    const after = left.findIndex(node => examples.indexOf(node) > current);
    const next = here >= 0 ? here + step : step > 0 ? after : (after < 0 ? left.length : after) - 1;
    if (next < 0 || next >= left.length) return;
    examples[current].open = false;
    const node = left[next];
    current = examples.indexOf(node);
    node.open = true;
    if (focused) node.querySelector("summary").focus({ preventScroll: true });
    node.scrollIntoView({ block: "start" });
    at.textContent = `${left.indexOf(node) + 1} of ${left.length}`;
  }

  const keys = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 };
  examples.forEach((node, k) => {
    node.querySelector("summary").addEventListener("focus", () => { current = k; });
    node.addEventListener("keydown", event => {
      const step = keys[event.key];
      if (!step || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
      event.preventDefault();
      leaf(step, true);
    });
  });
  document.getElementById("before").addEventListener("click", () => leaf(-1, false));
  document.getElementById("after").addEventListener("click", () => leaf(1, false));
  bar.addEventListener("input", filter);
  filter();
  bar.hidden = at.parentElement.hidden = false;
})();
