// Divide what the notebook says into slides of 1280 × 720, then hand them to reveal.js.
//
// A slide of the notebook becomes as few slides as can hold it, in the largest of a few type sizes that needs no more.
// What one cell shows stays together where a slide can hold it, and blocks stay whole; only tables and lists that are
// too long for any slide are divided. Figures take the room that is left.
(function () {
  "use strict";
  const SCALES = [1.12, 1.06, 1, 0.94, 0.88]; // sizes of type, for a slide as a whole
  const SMALLER = [0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4]; // for a block that fits alone in none of them
  const FIGURE = 0.95; // least size of a figure, its own being 1 …
  const HIGHEST = 430; // … unless that is higher than this
  const ROWS = 3; // at least in each piece of a table or a list

  const body = (page) => page.querySelector(".body");
  const fits = (page) => body(page).scrollHeight <= body(page).clientHeight + 1;

  // Figures: the block knows the size at which it was drawn.
  const drawn = (picture, side) => Number(picture.parentElement.style.getPropertyValue(side));
  const least = (picture) => Math.min(FIGURE * drawn(picture, "--h"), HIGHEST);
  const most = (picture) => (picture.clientWidth * drawn(picture, "--h")) / drawn(picture, "--w");

  function setPictures(page, height) {
    for (const picture of page.querySelectorAll(".picture")) picture.style.height = `${height(picture)}px`;
  }

  // Between their least size and all of the width, as far as the page has room.
  function growPictures(page) {
    setPictures(page, least);
    const shrink = fits(page) ? 1 : Number(page.style.getPropertyValue("--scale"));
    const at = (share) => (picture) => {
      const from = shrink * least(picture);
      return from + share * Math.max(0, most(picture) - from);
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

  // Text goes beside its figure where that makes the figure larger.
  function chooseColumns(page) {
    const blocks = [...body(page).children];
    const at = blocks.findIndex((block) => block.matches(".figure"));
    const size = () => {
      const picture = page.querySelector(".picture");
      return Math.min(picture.clientWidth / drawn(picture, "--w"), picture.clientHeight / drawn(picture, "--h"));
    };
    growPictures(page);
    if (at < 1 || page.querySelectorAll(".figure, .code, .text, table").length > 1) return;
    const stacked = size();
    const columns = [blocks.slice(0, at), blocks.slice(at)].map((part) => {
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

  // Move the last rows of a block that is too high into a second one; null where it is no table and no list.
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
    if (fits(page)) {
      others.append(...moved);
      return rest;
    }
    rows.append(...moved);
    return null;
  }

  // What stays together: the blocks of a code cell; in text, what announces something and that which it announces.
  function unitsOf(source) {
    const units = [];
    let open = false;
    for (const block of [...body(source).children]) {
      if (!block.matches(".prose:not(.fragment)")) {
        if (open || (units.length && units.at(-1)[0].dataset.cell === block.dataset.cell)) units.at(-1).push(block);
        else units.push([block]);
        open = false;
        continue;
      }
      for (const part of [...block.children]) {
        if (open) units.at(-1).push(part);
        else units.push([part]);
        open = part.tagName === "P" && /[:,]$/.test(part.textContent.trim());
      }
    }
    return units;
  }

  // Copies of the units on pages, with type of this size.
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
      const before = body(page).children.length;
      body(page).append(...blocks);
      setPictures(page, least);
      if (fits(page)) return true;
      while (body(page).children.length > before) body(page).lastElementChild.remove();
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
    function place(blocks) {
      let page = pages.at(-1);
      if (holds(page, blocks)) return;
      const fresh = body(page).children.length === 0;
      if (!fresh && holds((page = begin()), blocks)) return;
      if (!fresh) pages.pop().remove(); // it helps nothing to begin a page
      page = pages.at(-1);
      if (blocks.length > 1) return blocks.forEach((block) => place([block]));
      body(page).append(blocks[0]);
      const rest = divide(blocks[0], page);
      if (rest) {
        begin();
        return place([rest]);
      }
      blocks[0].remove();
      squeeze(fresh ? page : begin(), blocks[0]);
    }
    begin();
    for (const unit of units) place(unit.map((block) => block.cloneNode(true)));
    return pages;
  }

  // One size of type for all code on a slide: that at which its longest line fits.
  function setColumns(blocks) {
    const lines = (block) => block.textContent.split("\n").map((line) => line.length);
    const columns = blocks.filter((block) => block.matches(".code, .text, pre")).flatMap(lines);
    for (const block of blocks) block.style.setProperty("--columns", Math.max(40, ...columns));
  }

  function layOut(section) {
    section.classList.add("now"); // to be laid out
    const template = section.querySelector(".page");
    for (const formula of template.querySelectorAll("mjx-container[display=true]")) {
      const width = SCALES[0] * formula.querySelector("svg").getBoundingClientRect().width;
      const share = formula.clientWidth / width;
      if (share < 1) formula.style.fontSize = `${100 * share}%`;
    }
    const units = unitsOf(template);
    const images = [...template.querySelectorAll(".picture img")]; // not to be copied for each try
    images.forEach((image, index) => {
      image.parentElement.dataset.image = index;
      image.remove();
    });
    setColumns(units.flat());
    body(template).replaceChildren();
    const attempt = (scale) => {
      const pages = paginate(section, template, units, scale);
      pages.forEach((page) => page.remove());
      return pages;
    };
    const fewest = attempt(SCALES.at(-1)).length;
    const scale = SCALES.find((scale) => attempt(scale).length === fewest);
    const notes = section.querySelector(".notes");
    const pages = attempt(scale);
    template.remove();
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
  if (/print-pdf/.test(location.search)) window.requestAnimationFrame = (then) => setTimeout(then, 0);

  document.body.classList.add("measuring"); // as the style sheet says
  MathJax.startup.promise
    .then(() => MathJax.typesetPromise())
    .then(() => document.fonts.ready)
    .then(() => {
      document.body.classList.add("typeset");
      document.querySelectorAll(".slide:not(.title)").forEach(layOut);
      document.body.classList.remove("measuring");
      const counts = [...document.querySelectorAll(".count")];
      counts.forEach((count, index) => (count.textContent = `${index + 1} / ${counts.length}`));
      return Reveal.initialize({
        width: 1280,
        height: 720,
        margin: 0,
        center: false,
        hash: true,
        navigationMode: "linear",
        transition: "none",
        backgroundTransition: "none",
        scrollActivationWidth: 0,
        pdfSeparateFragments: false,
        plugins: [RevealNotes],
      });
    });
})();
