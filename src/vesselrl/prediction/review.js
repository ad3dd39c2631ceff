"use strict";
// Nothing of a file's name is ever read as HTML or as an address: texts are set as textContent,
// addresses are percent-encoded.
(() => {
  const ROW_HEIGHT = 32; // as in the style sheet
  const MARKS = { accepted: "✓", doubtful: "!" };
  const UNUSUAL = 0.95; // further from the training images than this share is pointed out
  const { columns, rows, decisions, texts, urgent, labelme } = JSON.parse(
    document.getElementById("data").textContent
  );
  const at = (id) => document.getElementById(id);
  const column = Object.fromEntries(columns.map((name, index) => [name, index]));
  const value = (number, name) => rows[number][column[name]];
  const say = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const decimal = (x, digits) => (x === null ? "–" : x.toFixed(digits));
  const count = (n) => n.toLocaleString("en");

  // Marks are kept under what was marked: a mask that is made anew has none.
  const marked = ["image", "dice", "recall", "precision"];
  const key = (number) => "vesselrl mark " + JSON.stringify([
    ...marked.map((name) => value(number, name)), ...decisions[value(number, "decision")],
  ]);
  const marks = new Map();
  let keeps = true;
  try {
    rows.forEach((_, number) => {
      const mark = localStorage.getItem(key(number));
      if (mark in MARKS) marks.set(number, mark);
    });
  } catch {
    keeps = false;
  }

  const filters = {
    all: () => true,
    urgent: (number) => number < urgent,
    unmarked: (number) => !marks.has(number),
    doubtful: (number) => marks.get(number) === "doubtful",
    accepted: (number) => marks.get(number) === "accepted",
    failed: (number) => value(number, "error") !== "",
  };
  let shown = []; // numbers of the rows that pass the filter
  let place = 0; // among them
  const current = () => shown[place];

  function address(folder, number) {
    return `${folder}/${encodeURIComponent(value(number, "image"))}.png`;
  }

  /** Empty where there is none: files are not asked for, or there is no mask to correct. */
  function labelmeFile(number) {
    return labelme && !value(number, "error") ? `${labelme}/${value(number, "image")}.json` : "";
  }

  function show(target) {
    place = Math.max(0, Math.min(shown.length - 1, target));
    scrollToPlace();
    drawRows();
    drawViewer();
  }

  function scrollToPlace() {
    const list = at("list");
    const top = place * ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    const beyond = top + ROW_HEIGHT - list.clientHeight;
    if (beyond > list.scrollTop) list.scrollTop = beyond;
  }

  function element(name, text, ...classes) {
    const made = document.createElement(name);
    made.textContent = text;
    made.classList.add(...classes);
    return made;
  }

  /** Only the rows in view are in the page, however many there are. */
  function drawRows() {
    const list = at("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - 10);
    const last = Math.min(
      shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + 10
    );
    const made = [];
    for (let index = first; index < last; index++) {
      const number = shown[index];
      const mark = marks.get(number);
      const row = element("div", "", "row", ...(mark ? [mark] : []));
      row.id = `row-${number}`;
      row.style.top = `${index * ROW_HEIGHT}px`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(index === place));
      row.setAttribute("aria-setsize", String(shown.length));
      row.setAttribute("aria-posinset", String(index + 1));
      row.append(
        element("span", count(number + 1), "rank"),
        element("span", value(number, "image"), "id"),
        element("span", decimal(value(number, "dice"), 3)),
        element("span", MARKS[mark] ?? "", "mark")
      );
      if (mark) row.lastChild.setAttribute("aria-label", texts[mark]);
      row.addEventListener("click", () => {
        show(index);
        at("viewer").scrollIntoView({ block: "nearest" }); // on a phone it is above the list
      });
      made.push(row);
    }
    at("rows").style.height = `${shown.length * ROW_HEIGHT}px`;
    at("rows").replaceChildren(...made);
    list.setAttribute("aria-activedescendant", shown.length ? `row-${current()}` : "");
  }

  function drawViewer() {
    const number = current();
    const some = number !== undefined;
    const error = some ? value(number, "error") : texts.nothing;
    at("name").textContent = some ? value(number, "image") : "";
    at("place").textContent = `${count(some ? place + 1 : 0)} / ${count(shown.length)}`;
    at("previous").disabled = place === 0;
    at("next").disabled = place >= shown.length - 1;
    at("facts").hidden = Boolean(error);
    sayInstead(error);
    at("accept").disabled = at("doubt").disabled = !some;
    const mark = marks.get(number);
    at("accept").setAttribute("aria-pressed", String(mark === "accepted"));
    at("doubt").setAttribute("aria-pressed", String(mark === "doubtful"));
    if (error) return;
    const [width, height] = [value(number, "width"), value(number, "height")];
    at("layers").style.setProperty("--ratio", String(width / height));
    at("image").src = address("review", number);
    at("image").alt = value(number, "image");
    drawLayers();
    drawFacts(number);
    for (const next of [shown[place + 1], shown[place - 1]]) {
      if (next !== undefined && !value(next, "error")) new Image().src = address("review", next);
    }
  }

  /** A sentence in place of the picture; the picture if it is empty. */
  function sayInstead(sentence) {
    at("layers").hidden = Boolean(sentence);
    at("failure").hidden = !sentence;
    at("failure").textContent = sentence;
  }

  /** The contour and the errors are loaded when they are first looked at. */
  function drawLayers() {
    for (const [layer, folder] of [["contour", "masks"], ["heat", "errors"]]) {
      const visible = at(`toggle-${layer}`).getAttribute("aria-pressed") === "true";
      at(layer).hidden = !visible;
      if (visible && current() !== undefined) at(layer).src = address(folder, current());
    }
  }

  function drawFacts(number) {
    const [low, high, dice] = ["dice_low", "dice_high", "dice"].map((name) => value(number, name));
    const [range, mean] = at("interval").children;
    range.style.left = `${100 * low}%`;
    range.style.width = `${100 * (high - low)}%`;
    mean.style.left = `${100 * dice}%`;
    const [prompt, threshold, operations] = decisions[value(number, "decision")];
    const far = value(number, "out_of_distribution");
    const facts = [
      [texts.dice, `${decimal(dice, 3)} (${decimal(low, 2)}–${decimal(high, 2)})`],
      [texts.scores, `${decimal(value(number, "recall"), 3)} · ` +
        decimal(value(number, "precision"), 3)],
      [texts.out_of_distribution, decimal(far, 2), far >= UNUSUAL ? "far" : ""],
      [texts.prompt, prompt],
      [texts.cut, `${threshold} · ${operations}`],
      [texts.cost, `${value(number, "segmenter_calls")} · ${decimal(value(number, "seconds"), 2)}`],
      [texts.file, `${value(number, "file")} (${value(number, "width")} × ` +
        `${value(number, "height")})`],
      labelme
        ? [texts.labelme, labelmeFile(number), "path"]
        : [texts.labelme, texts.no_labelme],
    ];
    at("facts").querySelector("dl").replaceChildren(
      ...facts.flatMap(([name, text, kind]) => [
        element("dt", name), element("dd", text, ...(kind ? [kind] : [])),
      ])
    );
  }

  function drawSummary() {
    let checked = 0;
    for (const number of marks.keys()) checked += number < urgent;
    const all = [...marks.values()];
    at("summary").textContent = say(texts.summary, {
      images: count(rows.length), urgent: count(urgent), checked: count(checked),
      accepted: count(all.filter((mark) => mark === "accepted").length),
      doubtful: count(all.filter((mark) => mark === "doubtful").length),
    });
    at("save-csv").disabled = at("save-json").disabled = !marks.size;
  }

  /** Mark the image and go on to the next; the same mark again removes it. */
  function setMark(mark) {
    const number = current();
    if (number === undefined) return;
    const again = marks.get(number) === mark;
    if (again) marks.delete(number);
    else marks.set(number, mark);
    try {
      if (again) localStorage.removeItem(key(number));
      else localStorage.setItem(key(number), mark);
    } catch {
      keeps = false;
      at("warning").hidden = false;
    }
    drawSummary();
    // The list stays as it was filtered, so that the image can be gone back to.
    show(again ? place : place + 1);
  }

  function toggle(id) {
    const pressed = at(id).getAttribute("aria-pressed") !== "true";
    at(id).setAttribute("aria-pressed", String(pressed));
    if (id === "zoom") at("layers").classList.toggle("zoomed", pressed);
    else drawLayers();
  }

  function refilter() {
    const before = current();
    const passes = filters[at("filter").value];
    shown = rows.map((_, number) => number).filter(passes);
    at("list").scrollTop = 0;
    show(Math.max(0, shown.indexOf(before)));
  }

  function markedRows() {
    return [...marks.keys()].sort((a, b) => a - b).map((number) => ({
      image: value(number, "image"), file: value(number, "file"), mark: marks.get(number),
      dice: value(number, "dice"),
      labelme: labelmeFile(number),
    }));
  }

  /** As RFC 4180 has it. What a spreadsheet would take for a formula gets an apostrophe. */
  function cell(content) {
    const text = String(content ?? "").replace(/^[=+\-@\t\r]/, "'$&");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function saveCsv() {
    const lines = markedRows().map((row) => Object.values(row).map(cell).join(","));
    save("marks.csv", "text/csv", ["image,file,mark,dice,labelme", ...lines, ""].join("\r\n"));
  }

  function saveJson() {
    save("marks.json", "application/json", `${JSON.stringify(markedRows(), null, 1)}\n`);
  }

  const ACTIONS = {
    j: () => show(place + 1),
    k: () => show(place - 1),
    g: () => show(0),
    G: () => show(shown.length - 1),
    h: () => toggle("toggle-heat"),
    c: () => toggle("toggle-contour"),
    z: () => toggle("zoom"),
    d: () => setMark("doubtful"),
    a: () => setMark("accepted"),
    "?": () => at("help").showModal(),
  };
  Object.assign(ACTIONS, {
    ArrowDown: ACTIONS.j, ArrowRight: ACTIONS.j, ArrowUp: ACTIONS.k, ArrowLeft: ACTIONS.k,
    Home: ACTIONS.g, End: ACTIONS.G,
  });
  const BUTTONS = {
    previous: "k", next: "j", accept: "a", doubt: "d", "toggle-contour": "c", "toggle-heat": "h",
    zoom: "z", layers: "z", ask: "?",
  };

  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || at("help").open;
    if (busy || event.target.tagName === "SELECT" || !Object.hasOwn(ACTIONS, event.key)) return;
    event.preventDefault();
    ACTIONS[event.key]();
  });
  for (const [id, name] of Object.entries(BUTTONS)) {
    at(id).addEventListener("click", () => ACTIONS[name]());
  }
  at("image").addEventListener("error", () => sayInstead(texts.missing));
  at("save-csv").addEventListener("click", saveCsv);
  at("save-json").addEventListener("click", saveJson);
  at("filter").append(
    ...Object.keys(filters).map((name) => {
      const option = element("option", texts.filters[name]);
      option.value = name;
      return option;
    })
  );
  at("filter").addEventListener("change", refilter);
  at("list").addEventListener("scroll", drawRows, { passive: true });
  window.addEventListener("resize", drawRows);
  at("warning").hidden = keeps;
  drawSummary();
  refilter();
})();
