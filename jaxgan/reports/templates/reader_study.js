"use strict";
const WORDS = ["real", "generated"];
const Z = 1.959963984540054; // of a 95 % interval
const PAUSE = 200; // milliseconds: the second half of a double click is no answer
const study = JSON.parse(document.getElementById("study").textContent);
const answers = [];
let state = "start";
let since = 0;
let saved = false;

function get(id) { return document.getElementById(id); }

function open_section(name) {
  state = name;
  for (const id of ["start", "test", "end"]) get(id).hidden = id !== name;
}

function show() {
  get("shown").src = study.images[answers.length];
  get("progress").textContent = `Image ${answers.length + 1} of ${study.images.length}`;
  since = Date.now();
}

function begin() {
  open_section("test");
  show();
}

function answer(word) {
  if (state !== "test" || Date.now() - since < PAUSE) return;
  answers.push(word);
  if (answers.length < study.images.length) show();
  else finish();
}

function read_truth() {
  const bytes = Array.from(atob(study.key), (letter) => letter.charCodeAt(0));
  return study.images.map((_, i) => WORDS[(bytes[2 * i] ^ bytes[2 * i + 1]) & 1]);
}

function compute_interval(right, count) {
  const share = right / count;
  const shrink = 1 + Z * Z / count;
  const centre = (share + Z * Z / (2 * count)) / shrink;
  const half = Z * Math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / shrink;
  return [Math.max(centre - half, 0), Math.min(centre + half, 1)];
}

function count_right(truth, word) {
  const chosen = truth.map((_, i) => i).filter((i) => !word || truth[i] === word);
  const right = chosen.filter((i) => answers[i] === truth[i]).length;
  return { right, count: chosen.length, interval: compute_interval(right, chosen.length) };
}

function percent(share) { return (100 * share).toFixed(1); }

function format(found) {
  const [low, high] = found.interval.map(percent);
  return `${percent(found.right / found.count)} % [${low}, ${high}], ${found.right} of ${found.count}`;
}

function judge(found) {
  const [low, high] = found.interval;
  if (low > 0.5) return "You could tell generated from real images: the interval lies above 50 %, which is chance.";
  if (high < 0.5) return "You took real for generated images more often than by chance: the interval lies below 50 %. You see a difference, but name it the wrong way round.";
  return "You could not tell generated from real images here: the interval holds 50 %, which is chance. That is no proof that they look alike.";
}

function add(parent, tag, text) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

function finish() {
  const truth = read_truth();
  const accuracy = count_right(truth);
  get("verdict").textContent = judge(accuracy);
  const rows = {
    "accuracy": accuracy,
    "generated images called generated": count_right(truth, "generated"),
    "real images called real": count_right(truth, "real"),
  };
  for (const [name, found] of Object.entries(rows)) {
    const row = add(get("numbers"), "tr");
    add(row, "th", name).scope = "row";
    add(row, "td", format(found));
  }
  truth.forEach((word, i) => {
    const figure = add(get("all"), "figure");
    figure.className = word === answers[i] ? "right" : "wrong";
    const image = add(figure, "img");
    image.src = study.images[i];
    image.alt = `Image ${i + 1}`;
    add(figure, "figcaption", `${i + 1}. is ${word}; you said ${answers[i]} (${figure.className})`);
  });
  offer(truth);
  open_section("end");
}

function offer(truth) {
  const reader = get("reader").value.trim();
  const record = { kind: study.kind, format: study.format, study: study.id, class: study.class, reader, answers, truth };
  const save = get("save");
  save.href = "data:application/json;charset=utf-8," + encodeURIComponent(JSON.stringify(record, null, 2));
  save.download = `answers_${reader.replace(/[^A-Za-z0-9_-]/g, "_") || "reader"}.json`;
  save.addEventListener("click", () => { saved = true; });
}

get("begin").addEventListener("click", begin);
for (const word of WORDS) get(word).addEventListener("click", () => answer(word));
addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const word = WORDS[["1", "2"].indexOf(event.key)];
  if (word) answer(word);
});
addEventListener("beforeunload", (event) => {
  if (answers.length && !saved) event.preventDefault();
});
