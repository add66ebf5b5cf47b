// Let sliders choose what an image shows among stored frames: the rows of a grid where there are two sliders.
function joinSliders(sliders, image, frames) {
  const inputs = [...sliders.querySelectorAll("input")];
  const show = () => {
    let at = 0;
    for (const input of inputs) {
      const label = JSON.parse(input.dataset.labels)[input.value];
      at = at * (Number(input.max) + 1) + Number(input.value);
      input.setAttribute("aria-valuetext", label);
      input.parentElement.querySelector("output").textContent = label;
    }
    image.src = frames[at];
  };
  inputs.forEach((input) => input.addEventListener("input", show));
  show();
  return inputs;
}
