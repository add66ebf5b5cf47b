// Typeset formulas: [[TeX, display], …] on standard input becomes {formulas: [HTML, …], css} on standard output.
const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", async () => {
  const MathJax = await require(process.argv[2] + "/node-main.js").init({
    loader: { load: ["input/tex-full", "output/chtml", "adaptors/liteDOM", "a11y/assistive-mml"] },
    tex: { packages: { "[-]": ["html", "require", "autoload"] } }, // no links and styles
    chtml: { fontURL: "mathjax-fonts", adaptiveCSS: true },
  });
  const adaptor = MathJax.startup.adaptor;
  const formulas = JSON.parse(Buffer.concat(chunks).toString()).map(([tex, display]) =>
    adaptor.outerHTML(MathJax.tex2chtml(tex, { display })));
  const css = adaptor.textContent(MathJax.chtmlStylesheet());
  process.stdout.write(JSON.stringify({ formulas, css }));
});
