// Lay the slides of the notebook out on pages of 1280 × 720, then start reveal.js.
//
// A slide and its subslides form a stack, and share pages. A stack becomes the fewest pages that can hold it; among
// those, pages break where the author begins a subslide, are at least a third full, and have large type. What one cell
// shows stays together where a page can hold it. Blocks stay whole, except tables and lists that are too long for any
// page. Claims are lines at the foot of the page that shows what they are about. Figures take the space that is left.

const SCALES = [1.12, 1.06, 1, 0.94, 0.88, 0.82, 0.76]; // type sizes for a whole page …
const LARGER = [1.25, 1.4, 1.55]; // … and for one that would look empty
const SMALLER = [0.7, 0.64, 0.58, 0.52, 0.46, 0.4]; // for a block that fits alone in none of these
const WHOLE = 0.88; // the smallest type in which a block that could be divided stays whole
const FIGURE = 0.84; // the least height of a figure, relative to the height at which it was drawn …
const HIGHEST = 430; // … and at most this many pixels
const ROWS = 3; // the fewest rows in a piece of a table or a list
const LEAST = 0.4; // of a page's height that its blocks take; less looks empty

// What a page costs besides itself, in pages.
const SMALL_TYPE = 2; // for each unit of scale below 1
const EMPTY = 1.5; // less than `LEAST` of the page is used
const INSIDE = 0.08; // the page begins inside a slide …
const INTRODUCED = 0.15; // … or with the code or the figure that the text before it introduces

const printing = /print-pdf/.test(location.search);
const body = (page) => page.querySelector(".body");
const fits = (page) => body(page).scrollHeight <= body(page).clientHeight + 1;

// Heights of a picture in pixels; its figure knows the size at which it was drawn.
const drawn = (picture, side) => Number(picture.parentElement.style.getPropertyValue(side));
const most = (picture) => (picture.clientWidth * drawn(picture, "--h")) / drawn(picture, "--w");
const least = (picture) => Math.min(FIGURE * drawn(picture, "--h"), HIGHEST, most(picture));

function setPictures(page, height) {
  for (const picture of page.querySelectorAll(".picture")) picture.style.height = `${height(picture)}px`;
}

// Grow all pictures by the same fraction of the way from their least to their greatest height, as far as they fit.
function growPictures(page) {
  setPictures(page, least);
  const shrink = fits(page) ? 1 : Number(page.style.getPropertyValue("--scale"));
  const at = (fraction) => (picture) => {
    const from = shrink * least(picture);
    return from + fraction * Math.max(0, most(picture) - from);
  };
  let [low, high] = [0, 1];
  for (let step = 0; step < 9; step++) {
    const middle = (low + high) / 2;
    setPictures(page, at(middle));
    if (fits(page)) low = middle;
    else high = middle;
  }
  setPictures(page, at(low));
}

// Put text beside its figure where that makes the figure larger.
function chooseColumns(page) {
  const blocks = [...body(page).children];
  const index = blocks.findIndex((block) => block.matches(".figure"));
  const size = () => {
    const picture = page.querySelector(".picture");
    return Math.min(picture.clientWidth / drawn(picture, "--w"), picture.clientHeight / drawn(picture, "--h"));
  };
  growPictures(page);
  if (index < 1 || page.querySelectorAll(".figure, .code, .text, table").length > 1) return;
  const stacked = size();
  const columns = [blocks.slice(0, index), blocks.slice(index)].map((part) => {
    const column = document.createElement("div");
    column.append(...part);
    return column;
  });
  body(page).classList.add("beside");
  body(page).replaceChildren(...columns);
  growPictures(page);
  if (fits(page) && size() > 1.1 * stacked) return;
  body(page).classList.remove("beside");
  body(page).replaceChildren(...blocks);
  growPictures(page);
}

// Move the last rows of a table or list that does not fit into a second one; null for any other block.
function divide(block, page) {
  const rowsOf = (it) => it.querySelector("tbody") || (it.matches("ul, ol") ? it : null);
  if (!rowsOf(block)) return null;
  const rest = block.cloneNode(true);
  const [rows, others] = [rowsOf(block), rowsOf(rest)];
  const isHead = (row) => row.matches("tr") && [...row.children].every((cell) => cell.tagName === "TH");
  others.replaceChildren(...[...others.children].filter(isHead));
  const kept = others.children.length + ROWS;
  const moved = [];
  while (!fits(page) && rows.children.length >= kept) {
    moved.unshift(rows.lastElementChild);
    rows.lastElementChild.remove();
  }
  (fits(page) ? others : rows).append(...moved);
  return fits(page) ? rest : null;
}

// The units of a stack stay together: the blocks of a code cell; in text, a paragraph that ends in ":" or "," and what
// follows. A claim belongs to the unit before it, and the first ones of a stack to the unit after them.
function unitsOf(slides) {
  const units = [];
  let claims = [];
  for (const slide of slides) {
    const before = units.length;
    let open = false; // the last unit announces the next block
    for (const block of [...body(slide).children]) {
      if (block.matches(".claim")) {
        (units.at(-1)?.claims ?? claims).push(block);
        continue;
      }
      const isText = block.matches(".prose:not(.fragment)");
      for (const part of isText ? [...block.children] : [block]) {
        const inside = units.length > before;
        const sameCell = inside && !isText && units.at(-1).blocks[0].dataset.cell === block.dataset.cell;
        if (inside && (open || sameCell)) units.at(-1).blocks.push(part);
        else units.push({ slide, blocks: [part], claims, begins: !inside });
        claims = [];
        open = isText && part.tagName === "P" && /[:,]$/.test(part.textContent.trim());
      }
    }
  }
  if (!units.length) units.push({ slide: slides[0], blocks: [], claims, begins: true });
  return units;
}

// A page with these units, in type of this size. It takes the heading of the first one; other headings stand between.
function compose(home, units, scale) {
  const page = units[0].slide.querySelector(".page").cloneNode(true);
  page.style.setProperty("--scale", scale);
  if (!units[0].begins && !page.querySelector(".more")) {
    const more = Object.assign(document.createElement("span"), { className: "more", textContent: "continued" });
    page.querySelector(".head h2").append(" ", more);
  }
  const blocks = [];
  for (const unit of units) {
    if (unit !== units[0] && unit.begins && unit.slide.dataset.level > 0) {
      const heading = unit.slide.querySelector(".head h2").cloneNode(true);
      const inside = Object.assign(document.createElement("h3"), { className: "inside" });
      inside.append(...heading.childNodes);
      blocks.push(inside);
    }
    blocks.push(...unit.blocks.map((block) => block.cloneNode(true)));
  }
  setColumns(blocks);
  body(page).replaceChildren(...blocks);
  page.querySelector(".footers").append(...units.flatMap((unit) => unit.claims.map((claim) => claim.cloneNode(true))));
  home.append(page);
  setPictures(page, least);
  return page;
}

// Tell all code on a page its longest line, so that it gets one type size in which that line fits.
function setColumns(blocks) {
  const code = blocks.filter((block) => block.matches(".code, .text, pre"));
  const lengths = code.flatMap((block) => block.textContent.split("\n").map((line) => line.length));
  for (const block of blocks) block.style.setProperty("--columns", Math.max(40, ...lengths));
}

// What `look` says of a page with these units, which is then removed.
function measured(home, units, scale, look) {
  const page = compose(home, units, scale);
  const seen = look(page);
  page.remove();
  return seen;
}

// Divide units that no page holds: into blocks; a table or a list by its rows; else the type must become smaller.
function pieces(home, unit) {
  if (measured(home, [unit], SCALES.at(-1), fits)) return [unit];
  const { slide, blocks, claims, begins } = unit;
  if (blocks.length > 1) {
    const parts = blocks.map((block, k) => ({ slide, blocks: [block], claims: [], begins: begins && k === 0 }));
    parts.at(-1).claims = claims;
    return parts.flatMap((part) => pieces(home, part));
  }
  const page = compose(home, [unit], WHOLE);
  const block = body(page).firstElementChild;
  const rest = block && divide(block, page);
  page.remove();
  if (!rest) return [{ ...unit, scale: SMALLER.find((scale) => measured(home, [unit], scale, fits)) ?? SMALLER.at(-1) }];
  const others = { slide, blocks: [rest], claims, begins: false };
  return [{ slide, blocks: [block], claims: [], begins }, ...pieces(home, others)];
}

// How much of the height between heading and foot the blocks of a page take; pictures grow.
function fullness(page) {
  if (page.querySelector(".picture")) growPictures(page);
  const boxes = [...body(page).children].map((block) => block.getBoundingClientRect());
  if (!boxes.length) return 0;
  const used = boxes.at(-1).bottom - boxes[0].top;
  return used / (body(page).getBoundingClientRect().height + page.querySelector(".footers").getBoundingClientRect().height);
}

// The largest type in which one page holds these units, and what this page costs; null if none does.
function tryPage(home, units, largest) {
  const fixed = units.length === 1 && units[0].scale;
  const scale = fixed || SCALES.find((it) => it <= largest && measured(home, units, it, fits));
  if (!scale) return null;
  const [first] = units;
  let cost = 1 + SMALL_TYPE * Math.max(0, 1 - scale);
  if (!first.begins) cost += first.blocks[0].matches?.(".code, .figure") && first.afterText ? INTRODUCED : INSIDE;
  if (measured(home, units, scale, fullness) >= LEAST) return { units, scale, cost };
  const holds = (page) => fits(page) && body(page).scrollWidth <= body(page).clientWidth + 1; // wide formulas grow, too
  const larger = LARGER.filter((it) => measured(home, units, it, holds));
  const enough = larger.find((it) => measured(home, units, it, fullness) >= LEAST);
  return { units, scale: enough ?? larger.at(-1) ?? scale, cost: cost + EMPTY };
}

// The cheapest division of the units into pages, found from the end.
function paginate(home, units) {
  units.forEach((unit, k) => (unit.afterText = k > 0 && !units[k - 1].blocks.at(-1).matches(".code, .figure")));
  const best = Array(units.length).fill(null);
  best.push({ total: 0, pages: [] });
  for (let i = units.length - 1; i >= 0; i--) {
    let largest = SCALES[0];
    for (let j = i + 1; j <= units.length; j++) {
      const page = tryPage(home, units.slice(i, j), largest);
      if (!page) break;
      largest = Math.min(largest, page.scale);
      const total = page.cost + best[j].total;
      if (!best[i] || total < best[i].total) best[i] = { total, pages: [page, ...best[j].pages] };
    }
  }
  return best[0].pages;
}

function layOut(stack) {
  const slides = [...stack.querySelectorAll(":scope > .slide:not(.title)")];
  if (!slides.length) return;
  const home = slides[0].cloneNode(false); // only what is displayed can be measured
  home.classList.add("now");
  stack.append(home);

  // Shrink formulas that are wider than the slide.
  slides.forEach((slide) => slide.classList.add("now"));
  for (const slide of slides) {
    for (const formula of slide.querySelectorAll("mjx-container[display=true]")) {
      const width = SCALES[0] * formula.querySelector("svg").getBoundingClientRect().width;
      const fraction = formula.clientWidth / width;
      if (fraction < 1) formula.style.fontSize = `${100 * fraction}%`;
    }
  }

  // Take the units off the slides, and the images out of the units, so that no attempt copies them.
  const units = unitsOf(slides);
  const images = slides.flatMap((slide) => [...slide.querySelectorAll(".picture img")]);
  images.forEach((image, index) => {
    image.parentElement.dataset.image = index;
    image.remove();
  });
  for (const slide of slides) {
    slide.classList.remove("now");
    body(slide).replaceChildren();
  }

  // Every page gets a section of its own, with the notes of the slides on it.
  for (const { units: shown, scale } of paginate(home, units.flatMap((unit) => pieces(home, unit)))) {
    const section = slides[0].cloneNode(false);
    section.classList.add("now");
    stack.append(section);
    const page = compose(section, shown, scale);
    for (const picture of page.querySelectorAll(".picture")) picture.append(images[picture.dataset.image]);
    chooseColumns(page);
    for (const slide of new Set(shown.map((unit) => unit.slide))) {
      const notes = slide.querySelector(".notes");
      if (notes) section.append(notes.cloneNode(true));
    }
    section.classList.remove("now");
  }
  [home, ...slides].forEach((section) => section.remove());
}

// Figures that move. On a screen they have the shape of a frame; in print the still image stands alone.
function prepareMoving() {
  document.querySelectorAll(".sliders").forEach((sliders, index) => {
    if (printing) return sliders.remove();
    sliders.dataset.figure = index;
    sliders.parentElement.style.setProperty("--w", sliders.dataset.w);
    sliders.parentElement.style.setProperty("--h", sliders.dataset.h);
  });
  if (printing) document.querySelectorAll(".play").forEach((button) => button.remove());
}

// Sliders choose among stored frames: the rows of a grid where there are two.
function startSliders() {
  const frames = JSON.parse(document.getElementById("frames").textContent);
  for (const sliders of document.querySelectorAll(".sliders")) {
    const image = sliders.parentElement.querySelector("img");
    const inputs = joinSliders(sliders, image, frames[sliders.dataset.figure]);
    for (const input of inputs) {
      // reveal.js hears no key while a slider has the focus: after a drag, and on the keys of a clicker, let it go.
      input.addEventListener("pointerup", () => input.blur());
      input.addEventListener("keydown", (event) => /^(PageDown|PageUp|Escape| )$/.test(event.key) && input.blur());
    }
  }
}

// Animations have a button. Where less motion is wanted, they stand still until it is pressed.
function startAnimations() {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const button of document.querySelectorAll(".play")) {
    const image = button.parentElement.querySelector("img");
    const sources = { Play: image.src, Pause: image.dataset.animation }; // what the image shows under each label
    image.removeAttribute("data-animation");
    const label = (words) => {
      button.textContent = words;
      image.src = sources[words];
    };
    label(still ? "Play" : "Pause");
    button.addEventListener("click", () => label(button.textContent === "Play" ? "Pause" : "Play"));
    button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && event.stopPropagation());
  }
}

// A browser that prints without a window draws no frames, and reveal.js would wait for one.
if (printing) window.requestAnimationFrame = (then) => setTimeout(then, 0);

document.body.classList.add("measuring"); // see the end of deck.css
prepareMoving();
await MathJax.startup.promise;
await MathJax.typesetPromise();
await document.fonts.ready;
document.body.classList.add("typeset");
document.querySelectorAll(".slides > section").forEach(layOut);
startSliders(); // the pages are copies, and copies have no listeners: only now
startAnimations();
document.body.classList.remove("measuring");
const counts = [...document.querySelectorAll(".count")];
counts.forEach((count, index) => (count.textContent = `${index + 1} / ${counts.length}`));
Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false,
  hash: true, navigationMode: "linear", plugins: [RevealNotes],
  transition: "none", backgroundTransition: "none", scrollActivationWidth: 0, pdfSeparateFragments: false,
});
