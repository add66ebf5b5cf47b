// What moves on the pages of lectures. sliders.js stands before this file.

// A figure with sliders shows its still image, a strip of frames perhaps, until a reader moves one.
for (const figure of document.querySelectorAll(".figure[data-frames]")) {
  const [sliders, still] = [figure.querySelector(".sliders"), figure.querySelector("img")];
  const begin = () => {
    const place = sliders.getBoundingClientRect().top; // a frame may be less high than the still
    still.removeAttribute("width");
    still.removeAttribute("height");
    still.style.aspectRatio = `${sliders.dataset.w} / ${sliders.dataset.h}`;
    still.style.maxWidth = `min(100%, ${sliders.dataset.w}px)`;
    still.removeAttribute("loading");
    joinSliders(sliders, still, JSON.parse(figure.dataset.frames));
    for (const frame of JSON.parse(figure.dataset.frames)) new Image().src = frame; // so that none is late
    scrollBy({ top: sliders.getBoundingClientRect().top - place, behavior: "instant" });
  };
  sliders.addEventListener("input", begin, { once: true });
}

// Animations stand still until their button is pressed.
for (const button of document.querySelectorAll(".play")) {
  const image = button.parentElement.querySelector("img");
  const sources = { Play: image.getAttribute("src"), Pause: image.dataset.animation };
  button.addEventListener("click", () => {
    button.textContent = button.textContent === "Play" ? "Pause" : "Play";
    image.src = sources[button.textContent];
  });
}

// An answer repeats what the reader said.
for (const form of document.querySelectorAll("form.guess")) {
  const said = document.querySelector(`details.answer[data-guess="${form.dataset.guess}"] .said`);
  const tell = () => {
    const words = new FormData(form).get("guess")?.trim();
    said.textContent = words ? `You said ${words}. ` : "";
  };
  form.addEventListener("input", tell);
  form.addEventListener("submit", (event) => event.preventDefault()); // Enter in the field
}

// A formula in a sentence that is wider than the page becomes a box that scrolls.
function boxFormulas() {
  for (const formula of document.querySelectorAll("article :is(p, li, dd) > mjx-container")) {
    formula.classList.remove("long");
    formula.classList.toggle("long", formula.getBoundingClientRect().width > formula.parentElement.clientWidth);
  }
}

// What scrolls sideways can be reached with the keyboard.
function reachScrolling() {
  boxFormulas();
  for (const box of document.querySelectorAll("article pre, .formula, .table-wrapper, mjx-container.long")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("resize", reachScrolling);
document.addEventListener("toggle", reachScrolling, true); // folded code has no width
document.fonts.ready.then(reachScrolling);

// On the search page lectures come before functions, and excerpts leave code out.
if (typeof Search !== "undefined") {
  Object.assign(Scorer, { objNameMatch: 4, objPartialMatch: 1, objPrio: {} });
  const asText = Search.htmlToText;
  Search.htmlToText = (page, anchor) => {
    const html = new DOMParser().parseFromString(page, "text/html");
    for (const code of html.querySelectorAll(".cell_input")) code.remove();
    return asText(html.documentElement.outerHTML, anchor);
  };
}
