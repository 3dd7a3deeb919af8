"use strict";
(() => {
  const $ = id => document.getElementById(id);
  const FOUND = 12, LISTED = 48, PATIENCE = 30, SHORT = 18;
  // What `topa serve` calls the micro model, which knows the words of the micro world and no others.
  const MICRO = "micro";
  const COLOURS = ["red", "green", "blue", "yellow", "purple", "white"];
  const PLACES = ["in the meadow", "on the beach", "in the snow", "in the street", "in the room"];
  const TRY_VIDEO = [
    ["what colour is the toy at the end ?", COLOURS],
    ["where is the toy at the start ?", PLACES],
    ["how many different toys appear ?", []],
  ];
  const TRY_LIBRARY = [
    ["where is the red ball ?", PLACES],
    ["what colour is the fish ?", COLOURS],
    ["what does the star do ?", []],
  ];

  let model = "";
  let token = sessionStorage.getItem("token") ?? "";
  let library = false;
  let video = null;
  let source = "";
  let frames = [];
  let current = 0;
  let wanted = null;
  let turn = null;
  let answering = null;
  let opening = null;
  let finding = null;
  let listedUpTo = "";
  const turns = new Map();

  /* The server */

  class Trouble extends Error {}

  const aborted = error => error?.name === "AbortError";

  const sooner = (promise, signal) => Promise.race([promise, new Promise((_, reject) => {
    const stop = () => reject(new DOMException("", "AbortError"));
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  })]);

  /* One request. A token is asked for where one is needed, and a busy server is asked once more when it said so.
     tell: shows a line meanwhile. */
  async function send(path, options = {}, tell = () => {}, transport = fetch) {
    for (let waited = false; ;) {
      const used = token;
      const headers = { ...options.headers, ...(used && { Authorization: `Bearer ${used}` }) };
      let response;
      try {
        response = await transport(path, { ...options, headers });
      } catch (error) {
        if (aborted(error) || error instanceof Trouble) throw error;
        throw new Trouble("The server can’t be reached. Look whether it still runs, then try again.");
      }
      if (response.status === 401) {
        if (token === used) await sooner(permission(used), options.signal);
      } else if (response.status === 429 && !waited) {
        waited = true;
        const seconds = Math.min(Math.max(Number(response.headers.get("Retry-After")) || 1, 0), PATIENCE);
        tell(`The server is busy. Trying again in ${seconds} s.`);
        await sooner(new Promise(done => setTimeout(done, 1000 * seconds)), options.signal);
        tell("");
      } else if (response.ok) {
        return response;
      } else {
        throw await troubleOf(response);
      }
    }
  }

  async function troubleOf(response) {
    const found = await response.json().then(body => body.error ?? {}, () => ({}));
    const request = response.headers.get("X-Request-Id");
    let message = found.message || `The server answered with status ${response.status}.`;
    if (response.status === 429) message += " Try again in a moment.";
    if (response.status >= 500) {
      message += ` Try again; if it stays so, tell whoever runs the server${request ? ` that it was request ${request}` : ""}.`;
    }
    return Object.assign(new Trouble(message), { status: response.status, code: found.code });
  }

  const get = async (path, signal) => (await send(path, { signal })).json();

  const post = (path, body, signal, tell) => send(path, {
    method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  }, tell);

  const videoPath = id => `/v1/videos/${encodeURIComponent(id)}`;

  let asked = null;

  /* Settles when there is a token to try. used: the one that was not enough. */
  function permission(used) {
    asked ??= new Promise(given => {
      const before = document.activeElement;
      $("token-error").textContent = used ? "The server did not take this token. Look whether it is whole." : "";
      $("token").hidden = false;
      $("token-value").value = "";
      $("token-value").focus();
      $("token").onsubmit = event => {
        event.preventDefault();
        token = $("token-value").value.trim();
        sessionStorage.setItem("token", token);
        $("token").hidden = true;
        asked = null;
        before?.focus?.();
        given();
      };
    });
    return asked;
  }

  /* As fetch, but says how much has been sent. */
  const uploading = progress => (path, { method, body, headers, signal }) => new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.open(method, path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = event => progress(event.loaded / event.total);
    request.onabort = () => fail(new DOMException("", "AbortError"));
    request.onerror = () => fail(new Trouble(
      "The upload broke off. Either the file is larger than this server takes, or the server stopped. Try a shorter video, or try again."
    ));
    request.onload = () => {
      const kept = ["Retry-After", "X-Request-Id"].filter(name => request.getResponseHeader(name));
      done(new Response(request.responseText, {
        status: request.status, headers: Object.fromEntries(kept.map(name => [name, request.getResponseHeader(name)])),
      }));
    };
    signal.addEventListener("abort", stop, { once: true });
    request.send(body);
  });

  /* The objects of a stream of server-sent events. Ends with [DONE]. */
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { done, value } = await reader.read().catch(error => {
        if (aborted(error)) throw error;
        return { done: true };
      });
      if (done) throw new Trouble("The answer broke off. Ask again.");
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter(line => line.startsWith("data:")).map(line => line.slice(5).trim()).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  }

  /* Small things */

  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  const label = (node, text) => (node.setAttribute("aria-label", text), node);

  const share = (node, value) => (node.style.setProperty("--share", Math.min(Math.max(value, 0), 1).toFixed(3)), node);

  const flag = (node, name, on) => on ? node.setAttribute(name, "true") : node.removeAttribute(name);

  const percent = value => `${(100 * value).toFixed(0)} %`;

  /* As two decimals show it: what would read 0.00 has no sign. */
  const sign = value => Math.abs(value) < 0.005 ? 0 : Math.sign(value);

  const signed = value => `${["−", "", "+"][sign(value) + 1]}${Math.abs(value).toFixed(2)}`;

  function clock(seconds) {
    if (seconds === null) return "?";
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.floor(seconds), two = number => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }

  const span = (start, end) => `${clock(start).replace(" s", "")}–${clock(end)}`;

  const shortName = name => name.split("/").pop();

  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";

  /* Scroll to what begins out of sight. */
  function bring(node) {
    const { top } = node.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) node.scrollIntoView({ block: "start", behavior: calm() });
  }

  const fault = (id, error) => { if (!aborted(error)) $(id).textContent = error.message; };

  /* Read aloud by screen readers, also where it is what was said last. */
  function say(text) {
    $("said").textContent = "";
    requestAnimationFrame(() => { $("said").textContent = text; });
  }

  /* path: null where there is none. */
  function picture(path) {
    const empty = make("span", { className: "none", textContent: "no picture" });
    if (!path) return empty;
    const image = make("img", { alt: "", loading: "lazy", decoding: "async", draggable: false });
    const none = () => image.replaceWith(empty);
    const fetched = async () => {
      image.onerror = none;
      try {
        const url = URL.createObjectURL(await (await send(path)).blob());
        image.onload = () => URL.revokeObjectURL(url);
        image.src = url;
      } catch {
        none();
      }
    };
    if (token) fetched();
    else Object.assign(image, { onerror: fetched, src: path });
    return image;
  }

  /* The video */

  async function openFile(file) {
    await open(async (signal, tell) => {
      const form = new FormData();
      form.append("file", file, file.name);
      const progress = sent => {
        $("loading-bar").value = sent;
        tell(sent < 1 ? `Uploading ${file.name}: ${percent(sent)}` : `Reading the frames of ${file.name}`);
        if (sent >= 1) $("loading-bar").removeAttribute("value");
      };
      progress(0);
      const response = await send("/v1/videos", { method: "POST", body: form, signal }, tell, uploading(progress));
      // The server keeps equal files once, under the first one's name.
      return [{ ...await response.json(), name: file.name }, URL.createObjectURL(file)];
    });
  }

  /* A video of the library. at: seconds to go to. */
  async function openStored(id, at = null) {
    if (video?.id === id) {
      if (at !== null) jump(at, true);
      return;
    }
    await open(async (signal, tell) => {
      tell("Opening the video");
      $("loading-bar").removeAttribute("value");
      const found = await get(videoPath(id), signal);
      const content = `${videoPath(id)}/content`;
      return [found, token ? URL.createObjectURL(await (await send(content, { signal })).blob()) : content];
    }, at);
  }

  /* fetch: gives what the server knows of a video, and where the player finds it. */
  async function open(fetch, at = null) {
    opening?.abort();
    const mine = opening = new AbortController();
    $("stage-error").textContent = "";
    $("loading").hidden = false;
    bring($("stage"));
    try {
      const [found, where] = await fetch(mine.signal, text => { if (text) $("loading-text").textContent = text; });
      if (mine !== opening) return;
      show(found, where);
      if (at === null) $("name").focus({ preventScroll: true });
      else jump(at, true);
    } catch (error) {
      if (mine === opening) fault("stage-error", error);
    } finally {
      if (mine === opening) {
        opening = null;
        $("loading").hidden = true;
      }
    }
  }

  function show(found, where) {
    leave();
    [video, source] = [found, where];
    wanted = null;
    $("player").src = source;
    drawFrames();
    const hash = video.kind === "library" ? `#${video.id}` : "";
    if (location.hash !== hash) history.pushState(null, "", hash || location.pathname);
    describe();
    showTurn(null);
    say(`${shortName(video.name)}: ${video.frames.length} frames were read.`);
  }

  /* Forget the video and what it was asked last; what was asked about it stays. */
  function leave() {
    answering?.abort();
    if (source.startsWith("blob:")) URL.revokeObjectURL(source);
    $("player").removeAttribute("src");
    $("player").load();
    $("player").hidden = false;
    $("unplayable").hidden = true;
    [video, source, frames] = [null, "", []];
    $("ask-error").textContent = $("stage-error").textContent = "";
  }

  function closeVideo() {
    opening?.abort();
    leave();
    if (location.hash) history.pushState(null, "", location.pathname);
    describe();
    showTurn(null);
    $("choose").focus({ preventScroll: true });
  }

  /* What is written and shown depends on whether there is a video, a library, both or none. */
  function describe() {
    const there = video !== null;
    document.title = there ? `${shortName(video.name)} · ${model || "topa"}` : model || "topa";
    $("name").textContent = there ? shortName(video.name) : "Choose a video";
    $("facts").textContent = there ? [
      clock(video.duration),
      video.width && `${video.width} × ${video.height}`,
      video.truncated && "damaged or cut short",
    ].filter(Boolean).join(", ") : "";
    $("empty").hidden = there;
    $("or-pick").hidden = !library;
    for (const id of ["watching", "other", "close", "caption"]) $(id).hidden = !there;
    $("read").hidden = !video?.frames.some(frame => frame.captions.length);
    $("talk-h").textContent = there ? "Ask this video" : library ? "Ask the whole library" : "Ask";
    $("search").hidden = $("search-key").hidden = !library;
    $("only-label").hidden = video?.kind !== "library";
    if ($("only-label").hidden) $("only").checked = false;
    for (const card of $("videos").querySelectorAll("button")) {
      flag(card, "aria-current", card.dataset.id === video?.id);
    }
  }

  function drawFrames() {
    frames = video.frames.map((frame, number) => {
      const bar = make("span", { className: "bar-box", hidden: true }, make("i"));
      const value = make("em", { hidden: true });
      const cell = make("button", { type: "button" }, bar, picture(frame.picture), make("time", { textContent: clock(frame.time) }), value);
      cell.onclick = () => choose(number);
      const captions = make("ul", {}, ...frame.captions.map((caption, k) => share(
        make("li", {}, make("b", { textContent: percent(frame.weights[k]) }), ` ${caption}`), frame.weights[k]
      )));
      const note = make("p", { className: "row-note" });
      const row = make("li", {}, make("time", { textContent: clock(frame.time) }), captions, note);
      row.onclick = () => { if (getSelection().isCollapsed) choose(number); };
      return { ...frame, cell, bar, value, row, note };
    });
    $("frames").replaceChildren(...frames.map(frame => make("li", {}, frame.cell)));
    $("rows").replaceChildren(...frames.map(frame => frame.row));
    mark(0);
  }

  const nameOf = (frame, number) => frame.time === null ? `Frame ${number + 1}` : `Frame at ${clock(frame.time)}`;

  /* The number of the frame nearest to a time, -1 where there is none. */
  function nearest(time) {
    let best = -1;
    frames.forEach((frame, number) => {
      if (frame.time !== null && (best < 0 || Math.abs(frame.time - time) < Math.abs(frames[best].time - time))) best = number;
    });
    return best;
  }

  function mark(number) {
    if (number < 0 || !frames.length) return;
    current = number;
    frames.forEach((frame, k) => {
      frame.cell.tabIndex = k === number ? 0 : -1;
      for (const node of [frame.cell, frame.row]) flag(node, "aria-current", k === number);
    });
    reveal(number);
  }

  /* Scroll the timeline, and nothing else, to a frame. */
  function reveal(number) {
    const strip = $("frames"), cell = frames[number].cell.parentElement;
    const left = cell.offsetLeft, right = left + cell.offsetWidth;
    if (left < strip.scrollLeft) strip.scrollLeft = left;
    else if (right > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = right - strip.clientWidth;
  }

  function choose(number) {
    if (frames[number].time !== null) jump(frames[number].time, false);
    mark(number);
  }

  /* Go to a time of the video that is open. focused: also bring the player there, so that the space bar plays it. */
  function jump(time, focused) {
    const player = $("player");
    wanted = time;
    if (player.readyState >= 1) seek();
    mark(nearest(time));
    if (!focused) return;
    bring($("stage"));
    (player.hidden ? frames[current].cell : player).focus({ preventScroll: true });
  }

  function seek() {
    if (wanted === null) return;
    $("player").pause();
    $("player").currentTime = wanted;
    wanted = null;
  }

  function walk(event) {
    const last = frames.length - 1;
    const next = {
      ArrowLeft: current - 1, ArrowUp: current - 1, ArrowRight: current + 1, ArrowDown: current + 1, Home: 0, End: last,
    }[event.key];
    if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(Math.min(Math.max(next, 0), last));
    frames[current].cell.focus();
  }

  /* What each frame did for an answer, as bars over the timeline; null takes them away. */
  function drawSupport(explanation) {
    $("support-bar").hidden = !explanation;
    frames.forEach((frame, number) => {
      frame.bar.hidden = frame.value.hidden = true;
      frame.cell.classList.remove("best", "against");
      frame.row.classList.remove("best");
      frame.note.textContent = "";
      label(frame.cell, [nameOf(frame, number), frame.captions[0]].filter(Boolean).join(": "));
    });
    if (!explanation) return;
    const support = explanation.frames.map(frame => frame.support);
    const top = Math.max(...support, 0), reach = top - Math.min(...support, 0) || 1;
    const best = strongest(explanation);
    $("support-note").textContent = `Support of each frame for “${explanation.text}”`;
    explanation.frames.forEach((part, k) => {
      const number = part.time === null ? k : nearest(part.time);
      const frame = frames[number];
      if (!frame) return;
      frame.bar.hidden = frame.value.hidden = false;
      frame.bar.style.setProperty("--from", ((top - Math.max(part.support, 0)) / reach).toFixed(3));
      frame.bar.style.setProperty("--size", (Math.abs(part.support) / reach).toFixed(3));
      frame.bar.style.setProperty("--zero", (top / reach).toFixed(3));
      frame.value.textContent = signed(part.support);
      frame.cell.classList.toggle("best", k === best);
      frame.cell.classList.toggle("against", sign(part.support) < 0);
      frame.row.classList.toggle("best", k === best);
      const other = part.choice !== null && part.choice !== explanation.choice ? explanation.options[part.choice] : "";
      frame.note.textContent = [k === best ? "the strongest" : "", other && `without it: ${other}`].filter(Boolean).join(", ");
      if (k === best) reveal(number);
      label(frame.cell, `${nameOf(frame, number)}, support ${signed(part.support)}${k === best ? ", the strongest" : ""}: ${frame.captions[0] ?? ""}`);
    });
  }

  /* The number of the frame that supports an answer most, -1 where none does. */
  function strongest(explanation) {
    const support = explanation.frames.map(frame => frame.support);
    const most = Math.max(...support);
    return most > 0 ? support.indexOf(most) : -1;
  }

  /* Questions */

  const options = () => [...$("options").querySelectorAll("input")].map(input => input.value.trim()).filter(Boolean);

  function addOption(text = "") {
    const number = $("options").children.length + 1;
    const input = make("input", { type: "text", value: text, placeholder: number === 1 ? "Add an option" : "Add another", autocomplete: "off" });
    $("options").append(make("li", {}, label(input, `Option ${number}`)));
  }

  function fill(question, choices) {
    $("question").value = question;
    $("options").replaceChildren();
    choices.forEach(choice => addOption(choice));
    optionsChanged();
  }

  /* There is always an empty one to type in. Short ones stand two in a row. */
  function optionsChanged() {
    if ($("options").lastElementChild?.firstElementChild.value !== "") addOption();
    $("options").classList.toggle("short", options().every(option => option.length <= SHORT));
    $("clear").hidden = !options().length;
  }

  function showExamples() {
    $("examples").hidden = model !== MICRO || Boolean(turn) || turns.has(video?.id ?? "");
    const examples = !video && library ? TRY_LIBRARY : TRY_VIDEO;
    $("examples").querySelector("ul").replaceChildren(...examples.map(([question, choices]) => {
      const button = make("button", { type: "button", textContent: question, className: "chip" });
      button.onclick = () => {
        fill(question, choices);
        $("question").focus();
      };
      return make("li", {}, button);
    }));
  }

  /* One answer at a time: a new one ends the one before. */
  async function work(errors, task) {
    answering?.abort();
    const mine = answering = new AbortController();
    $(errors).textContent = "";
    $("stop").hidden = false;
    try {
      await task(mine.signal);
    } catch (error) {
      if (!mine.signal.aborted) fault(errors, error);
    } finally {
      if (mine === answering) {
        answering = null;
        if (document.activeElement === $("stop")) $("question").focus();
        $("stop").hidden = true;
      }
    }
  }

  function ask(question, choices) {
    if (!video && !library) {
      $("ask-error").textContent = "There is no video to ask about yet. Choose a file, or drop one on the page.";
      return;
    }
    const mine = {
      key: video?.id ?? "", question, choices, text: "", running: true, note: "", options: [], probabilities: [], choice: null,
      evidence: [], parts: [], warnings: [], explanation: null,
    };
    work("ask-error", async signal => {
      showTurn(mine);
      $("answer").scrollIntoView({ block: "nearest", behavior: calm() });
      const tell = text => { mine.note = text; if (turn === mine) progress(); };
      const began = performance.now();
      try {
        if (video && !choices.length) await converse(mine, signal, tell, began);
        else await decide(mine, signal, tell);
        mine.note = mine.first === undefined ? "" : `First words after ${(mine.first / 1000).toFixed(2)} s.`;
        if (!mine.text) mine.note = "The model said nothing. Ask in other words.";
        if (mine.cut) mine.note += " Cut off: the answer may be no longer.";
        keep(mine);
      } catch (error) {
        mine.note = signal.aborted ? "Stopped." : "";
        if (mine.text) keep(mine);
        throw error;
      } finally {
        mine.running = false;
        if (turn === mine) showTurn(mine.text || mine.note ? mine : null);
      }
      say(`Answer: ${mine.text}${mine.choice === null ? "" : `, ${percent(mine.probabilities[mine.choice])}`}`);
    });
  }

  /* In its own words, as they come. */
  async function converse(mine, signal, tell, began) {
    const content = [{ type: "video_url", video_url: { url: video.id } }];
    if (mine.question) content.push({ type: "text", text: mine.question });
    mine.evidence = video.frames;
    const response = await post("/v1/chat/completions", {
      model, messages: [{ role: "user", content }], stream: true, stream_options: { include_usage: true },
    }, signal, tell);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Trouble(chunk.error.message);
      const [said] = chunk.choices ?? [];
      if (said?.delta?.content) {
        mine.first ??= performance.now() - began;
        mine.text += said.delta.content;
        if (turn === mine) $("text").textContent = mine.text;
      }
      mine.cut ||= said?.finish_reason === "length";
      if (chunk.topa?.evidence?.length) mine.evidence = chunk.topa.evidence;
      if (chunk.topa?.warnings) mine.warnings = chunk.topa.warnings;
    }
  }

  /* Of options, or over the library. */
  async function decide(mine, signal, tell) {
    const body = { question: mine.question };
    if (video) body.video = video.id;
    if (mine.choices.length) body.choices = mine.choices;
    const { text, choice, options, probabilities, evidence, parts, warnings } =
      await (await post("/v1/ask", body, signal, tell)).json();
    Object.assign(mine, { text, choice, options, probabilities, evidence, parts, warnings });
  }

  function keep(mine) {
    const all = turns.get(mine.key) ?? [];
    if (!all.includes(mine)) turns.set(mine.key, [mine, ...all]);
  }

  function why() {
    const mine = turn;
    work("why-error", async signal => {
      const tell = text => { $("because").textContent = text || "Taking each frame away in turn."; };
      tell("");
      $("why").hidden = true;
      try {
        const body = { video: mine.key };
        if (mine.question) body.question = mine.question;
        if (mine.choices.length) body.choices = mine.choices;
        mine.explanation = await (await post("/v1/explain", body, signal, tell)).json();
      } finally {
        if (turn === mine) {
          showTurn(mine);
          if (!mine.explanation) $("why").focus({ preventScroll: true });
        }
      }
      if (turn === mine) {
        say($("because").textContent);
        $("rests").querySelector("button.best, button")?.focus({ preventScroll: true });
      }
    });
  }

  function because(explanation) {
    const best = strongest(explanation);
    const all = `All frames together: ${signed(explanation.score - explanation.blind)} over none (${explanation.measure}).`;
    if (best < 0) return `No single frame supports it: without any one of them, the answer is as sure. ${all}`;
    const frame = explanation.frames[best];
    return `${nameOf(frame, best).replace("F", "The f")} supports it most: without it, the score falls by ${frame.support.toFixed(2)}. ${all}`;
  }

  function progress() {
    $("progress").textContent = turn.note || (turn.running ? "Answering" : "");
    flag($("answer"), "aria-busy", turn.running);
  }

  /* Show an answer, also one that is still coming; null shows none. */
  function showTurn(next) {
    turn = next;
    const key = video?.id ?? "";
    $("answer").hidden = !turn;
    if (turn) {
      $("asked").textContent = turn.question || "What does the video show?";
      $("text").textContent = turn.text;
      $("bars").replaceChildren(...turn.options.map((option, k) => make("li", { className: k === turn.choice ? "chosen" : "" },
        make("span", { textContent: option }),
        make("b", { textContent: percent(turn.probabilities[k]) }),
        share(make("i"), turn.probabilities[k]))));
      $("warnings").replaceChildren(...turn.warnings.map(text => make("li", { textContent: text })));
      $("because").textContent = turn.explanation ? because(turn.explanation) : "";
      $("why-error").textContent = "";
      $("why").hidden = turn.running || !turn.key || Boolean(turn.explanation) || !turn.text;
      showRests();
      progress();
    }
    drawSupport(turn?.explanation ?? null);
    showEarlier(key);
    showExamples();
  }

  /* What an answer rests on: parts of videos, or frames; each leads to its place. */
  function showRests() {
    const parts = turn.parts.map(part => {
      const name = part.name || part.video ? `${shortName(part.name || part.video)}, ` : "";
      const button = make("button", { type: "button", className: "part" },
        ...(part.video ? [picture(`${videoPath(part.video)}/picture?at=${(part.start + part.end) / 2}`)] : []),
        make("span", {}, make("b", { textContent: part.text }),
          make("span", {}, name, make("time", { textContent: span(part.start, part.end) }))),
        make("em", { textContent: percent(part.share) }));
      button.onclick = () => part.video ? openStored(part.video, part.start) : jump(part.start, true);
      return button;
    });
    const best = turn.explanation ? strongest(turn.explanation) : -1;
    const seen = turn.key ? (turn.explanation?.frames ?? turn.evidence).map((frame, number) => {
      const button = make("button", { type: "button", className: number === best ? "chip best" : "chip" }, make("time", { textContent: clock(frame.time) }));
      button.title = frame.captions[0] ?? "";
      label(button, `${nameOf(frame, number)}: ${frame.captions[0] ?? "no caption"}${number === best ? ", the strongest" : ""}`);
      button.onclick = () => frame.time === null ? choose(number) : jump(frame.time, true);
      return button;
    }) : [];
    const shown = parts.length ? parts : seen;
    $("rests").hidden = turn.running || !turn.text || !shown.length;
    $("rests-h").textContent = parts.length ? "It rests on" : `It rests on ${seen.length} frames`;
    $("rests-list").className = parts.length ? "parts" : "chips";
    $("rests-list").replaceChildren(...shown.map(button => make("li", {}, button)));
  }

  function showEarlier(key) {
    const others = (turns.get(key) ?? []).filter(other => other !== turn);
    $("earlier").hidden = !others.length;
    $("earlier-list").replaceChildren(...others.map(other => {
      const button = make("button", { type: "button" },
        make("span", { textContent: other.question || "Describe the video" }), make("b", { textContent: other.text }));
      button.onclick = () => {
        answering?.abort();
        fill(other.question, other.choices);
        showTurn(other);
        $("answer").focus({ preventScroll: true });
        bring($("answer"));
      };
      return make("li", {}, button);
    }));
  }

  /* The library */

  const card = (path, title, about) => make("button", { type: "button" }, picture(path),
    make("b", { textContent: title }), make("span", { textContent: about }));

  async function listVideos() {
    const query = new URLSearchParams({ limit: LISTED, ...(listedUpTo && { after: listedUpTo }) });
    $("library-error").textContent = "";
    try {
      const found = await get(`/v1/videos?${query}`);
      library ||= found.data.length > 0;
      listedUpTo = found.data.at(-1)?.id ?? listedUpTo;
      $("more").hidden = !found.has_more;
      $("videos").append(...found.data.map(entry => {
        const button = card(`${videoPath(entry.id)}/picture?at=${entry.duration / 2}`, shortName(entry.name), clock(entry.duration));
        button.dataset.id = entry.id;
        button.onclick = () => openStored(entry.id);
        return make("li", {}, button);
      }));
      $("library").hidden = !library;
    } catch (error) {
      if (error.code === "no_library") return;
      $("library").hidden = false;
      fault("library-error", error);
    }
  }

  async function search() {
    const query = $("query").value.trim();
    if (!query) return closeSearch();
    finding?.abort();
    const mine = finding = new AbortController();
    const tell = text => { $("found-note").textContent = text || "Searching"; };
    $("found").hidden = false;
    $("found-error").textContent = "";
    $("found-h").textContent = `Moments for “${query}”`;
    tell("");
    try {
      const body = { query, top: FOUND, ...($("only").checked && video && { video: video.id }) };
      const { data } = await (await post("/v1/search", body, mine.signal, tell)).json();
      if (mine !== finding) return;
      $("moments").replaceChildren(...data.map(moment => {
        const button = card(moment.picture, span(moment.start, moment.end), shortName(moment.video.name));
        button.onclick = () => openStored(moment.video.id, moment.frames[0] ?? moment.start);
        return make("li", {}, button);
      }));
      $("found-note").textContent = data.length ? "" : "Nothing was found. Try other words.";
      say(data.length ? `${data.length} moments found.` : "Nothing was found.");
    } catch (error) {
      if (mine !== finding) return;
      $("moments").replaceChildren();
      $("found-note").textContent = "";
      fault("found-error", error);
    }
  }

  function closeSearch() {
    finding?.abort();
    finding = null;
    $("found").hidden = true;
    $("moments").replaceChildren();
    if (!library) return;
    $("query").value = "";
    $("query").focus();
  }

  /* The page */

  function followHash() {
    const id = location.hash.slice(1);
    if (/^lib_[\w-]+$/.test(id)) openStored(id);
    else if (!id && video?.kind === "library") closeVideo();
  }

  function stopAll() {
    if (answering) answering.abort();
    else if (opening) opening.abort();
    else if (!$("found").hidden) closeSearch();
  }

  function keys(event) {
    if (event.key === "Escape") stopAll();
    if (event.key !== "/" || $("search").hidden || event.target.closest("input, textarea")) return;
    event.preventDefault();
    $("query").focus();
    $("query").select();
  }

  function wireDrop() {
    const carries = event => event.dataTransfer?.types.includes("Files");
    const over = on => document.body.classList.toggle("dropping", on);
    addEventListener("dragover", event => {
      if (!carries(event)) return;
      event.preventDefault();
      over(true);
    });
    addEventListener("dragleave", event => { if (!event.relatedTarget) over(false); });
    addEventListener("drop", event => {
      if (!carries(event)) return;
      event.preventDefault();
      over(false);
      if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
    });
  }

  function wire() {
    const submit = (id, action) => $(id).addEventListener("submit", event => {
      event.preventDefault();
      action();
    });
    submit("search", search);
    submit("ask", () => {
      const question = $("question").value.trim();
      if (question) return ask(question, options());
      $("ask-error").textContent = "There is no question yet. Type one.";
      $("question").focus();
    });
    $("question").addEventListener("keydown", event => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("ask").requestSubmit();
    });
    $("options").addEventListener("input", optionsChanged);
    $("clear").onclick = () => {
      fill($("question").value, []);
      $("options").querySelector("input").focus();
    };
    $("choose").onclick = $("other").onclick = () => $("file").click();
    $("file").onchange = () => {
      const [file] = $("file").files;
      if (file) openFile(file);
      $("file").value = "";
    };
    $("loading-stop").onclick = () => opening?.abort();
    $("close").onclick = closeVideo;
    $("caption").onclick = () => ask("", []);
    $("stop").onclick = () => answering?.abort();
    $("why").onclick = why;
    $("support-close").onclick = () => {
      drawSupport(null);
      frames[current].cell.focus();
    };
    $("found-close").onclick = closeSearch;
    $("more").onclick = listVideos;
    $("weights").onclick = () => {
      const on = $("rows").classList.toggle("weighed");
      $("weights").setAttribute("aria-pressed", String(on));
    };
    $("frames").addEventListener("keydown", walk);
    $("player").addEventListener("loadedmetadata", seek);
    $("player").addEventListener("timeupdate", () => mark(nearest($("player").currentTime)));
    $("player").addEventListener("error", () => {
      if (!video) return;
      $("player").hidden = true;
      $("unplayable").hidden = false;
    });
    for (const id of ["name", "answer"]) $(id).tabIndex = -1;
    addEventListener("keydown", keys);
    addEventListener("hashchange", followHash);
    wireDrop();
    optionsChanged();
  }

  async function start() {
    wire();
    try {
      model = (await get("/v1/models")).data[0].id;
      $("model").textContent = model;
      await listVideos();
    } catch (error) {
      fault("stage-error", error);
    }
    describe();
    showTurn(null);
    followHash();
  }

  start();
})();
