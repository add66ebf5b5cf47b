// Divide the slides of the notebook into pages of 1280 × 720, then start reveal.js.
//
// A slide becomes the fewest pages that can hold it, in the largest type size that needs no more pages. What one cell
// shows stays together where a page can hold it. Blocks stay whole, except tables and lists that are too long for any
// page. Figures take the space that is left.

const SCALES = [1.12, 1.06, 1, 0.94, 0.88]; // type sizes for a whole slide
const SMALLER = [0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4]; // for a block that fits alone in none of these
const FIGURE = 0.66; // the least height of a figure, relative to the height at which it was drawn …
const HIGHEST = 320; // … and at most this many pixels
const ROWS = 3; // the fewest rows in a piece of a table or a list

const isPrinted = /print-pdf/.test(location.search);

const body = (page) => page.querySelector(".body");
const fits = (page) => body(page).scrollHeight <= body(page).clientHeight + 1;

// Heights of a picture in pixels; its figure knows the size at which it was drawn.
const drawn = (picture, side) => Number(picture.parentElement.style.getPropertyValue(side));
const least = (picture) => Math.min(FIGURE * drawn(picture, "--h"), HIGHEST);
const most = (picture) => (picture.clientWidth * drawn(picture, "--h")) / drawn(picture, "--w");

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

// The units that stay together: the blocks of a code cell; in text, a paragraph that ends in ":" or "," and what follows.
// Claims and guesses are short, and stay with what they are about.
function unitsOf(page) {
  const units = [];
  let open = false; // the last unit announces the next block
  for (const block of [...body(page).children]) {
    const isText = block.matches(".prose:not(.fragment)");
    for (const part of isText ? [...block.children] : [block]) {
      const sameCell = !isText && units.length && units.at(-1)[0].dataset.cell === block.dataset.cell;
      const about = block.matches(".claim, .guess") && units.length;
      if (open || sameCell || about) units.at(-1).push(part);
      else units.push([part]);
      open = isText && part.tagName === "P" && /[:,]$/.test(part.textContent.trim());
    }
  }
  return units;
}

// Copy the units onto new pages of the section, in type of this size.
function paginate(section, template, units, scale) {
  const pages = [];
  function begin() {
    const page = template.cloneNode(true);
    page.style.setProperty("--scale", scale);
    if (pages.length && !page.querySelector(".more")) {
      const more = Object.assign(document.createElement("span"), { className: "more", textContent: "continued" });
      page.querySelector(".head h2").append(" ", more);
    }
    section.append(page);
    pages.push(page);
    return page;
  }

  function holds(page, blocks) {
    body(page).append(...blocks);
    setPictures(page, least);
    if (fits(page)) return true;
    blocks.forEach((block) => block.remove());
    return false;
  }

  function squeeze(page, block) {
    body(page).append(block);
    for (const smaller of SMALLER) {
      page.style.setProperty("--scale", smaller);
      setPictures(page, (picture) => smaller * least(picture));
      if (fits(page)) return;
    }
  }

  // On the last page, else on a new one; else block by block; else divided; else in smaller type.
  function place(blocks) {
    const last = pages.at(-1);
    if (holds(last, blocks)) return;
    const empty = body(last).children.length === 0;
    if (!empty) {
      if (holds(begin(), blocks)) return;
      pages.pop().remove();
    }
    if (blocks.length > 1) return blocks.forEach((block) => place([block]));
    const [block] = blocks;
    body(last).append(block);
    const rest = divide(block, last);
    if (rest) {
      begin();
      return place([rest]);
    }
    block.remove();
    squeeze(empty ? last : begin(), block);
  }

  begin();
  for (const unit of units) place(unit.map((block) => block.cloneNode(true)));
  return pages;
}

// Tell all code on a slide its longest line, so that it gets one type size in which that line fits.
function setColumns(blocks) {
  const code = blocks.filter((block) => block.matches(".code, .text, pre"));
  const lengths = code.flatMap((block) => block.textContent.split("\n").map((line) => line.length));
  for (const block of blocks) block.style.setProperty("--columns", Math.max(40, ...lengths));
}

function layOut(section) {
  section.classList.add("now"); // only what is displayed can be measured
  const template = section.querySelector(".page");
  const notes = section.querySelector(".notes");

  // Shrink formulas that are wider than the slide.
  for (const formula of template.querySelectorAll("mjx-container[display=true]")) {
    const width = SCALES[0] * formula.querySelector("svg").getBoundingClientRect().width;
    const fraction = formula.clientWidth / width;
    if (fraction < 1) formula.style.fontSize = `${100 * fraction}%`;
  }

  // Take the units off the page, and the images out of the units, so that no attempt copies them.
  const units = unitsOf(template);
  const images = [...template.querySelectorAll(".picture img")];
  images.forEach((image, index) => {
    image.parentElement.dataset.image = index;
    image.remove();
  });
  setColumns(units.flat());
  body(template).replaceChildren();

  // The largest scale that needs as few pages as the smallest.
  const attempt = (scale) => {
    const pages = paginate(section, template, units, scale);
    pages.forEach((page) => page.remove());
    return pages;
  };
  const fewest = attempt(SCALES.at(-1)).length;
  const pages = attempt(SCALES.find((scale) => attempt(scale).length === fewest));
  template.remove();

  // Every page gets a section of its own, with the notes of the slide.
  let last = section;
  for (const page of pages) {
    let home = section;
    if (page !== pages[0]) {
      home = section.cloneNode(false);
      if (notes) home.append(notes.cloneNode(true));
      last.after(home);
    }
    home.classList.add("now");
    home.prepend(page);
    for (const picture of page.querySelectorAll(".picture")) picture.append(images[picture.dataset.image]);
    chooseColumns(page);
    home.classList.remove("now");
    last = home;
  }
}

// A browser that prints without a window draws no frames, and reveal.js would wait for one.
if (isPrinted) window.requestAnimationFrame = (then) => setTimeout(then, 0);

// Figures with controls: on a screen the stored frames move, on paper the still picture stays.
document.body.classList.toggle("printed", isPrinted);
for (const figure of document.querySelectorAll(".figure[data-print]")) {
  const picture = figure.querySelector("img");
  if (isPrinted) {
    const [width, height] = figure.dataset.print.split(" ");
    figure.style.setProperty("--w", width);
    figure.style.setProperty("--h", height);
  } else {
    picture.src = frameOf(picture, [...figure.querySelectorAll("input")]);
  }
}

// The frame at the positions of the controls; with two of them the frames are the rows of a grid.
function frameOf(picture, inputs) {
  const { controls, frames } = JSON.parse(picture.dataset.frames);
  const index = inputs.reduce((sum, input, k) => sum * controls[k].labels.length + Number(input.value), 0);
  return frames[index];
}

function listen(figure) {
  const picture = figure.querySelector("img");
  const inputs = [...figure.querySelectorAll("input")];
  const { controls } = JSON.parse(picture.dataset.frames);
  inputs.forEach((input, k) => {
    const label = () => controls[k].labels[input.value];
    const tell = () => {
      input.nextElementSibling.textContent = label();
      input.setAttribute("aria-valuetext", label());
    };
    tell();
    input.addEventListener("input", () => {
      picture.src = frameOf(picture, inputs);
      tell();
    });
    // reveal.js leaves the keys to a control that has the focus: give it back, so that the next key turns the slide.
    input.addEventListener("pointerup", () => input.blur());
    input.addEventListener("keydown", (event) => /^Page|^ $|Escape/.test(event.key) && input.blur());
  });
}

document.body.classList.add("measuring"); // see the end of deck.css
await MathJax.startup.promise;
await MathJax.typesetPromise();
await document.fonts.ready;
document.body.classList.add("typeset");
document.querySelectorAll(".slide:not(.title)").forEach(layOut);
document.querySelectorAll(".figure[data-print]").forEach(listen);
document.body.classList.remove("measuring");
const counts = [...document.querySelectorAll(".count")];
counts.forEach((count, index) => (count.textContent = `${index + 1} / ${counts.length}`));
Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false,
  hash: true, navigationMode: "linear", plugins: [RevealNotes],
  transition: "none", backgroundTransition: "none", scrollActivationWidth: 0, pdfSeparateFragments: false,
});
