// Asks Mermaid about every chart of tests/mermaid/*.mmd and writes tests/mermaid/golden.json.
//
//   npm install && npm run golden            renew the golden answers
//   node golden.mjs FILE.mmd … > answers     answers about other corpora, on stdout
//
// A corpus file holds charts, each under a line "=== name". Texts are given as a reader sees them: the label as
// HTML in a page, with <br> as a newline.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JSDOM } from 'jsdom';

const { window } = new JSDOM('<!DOCTYPE html><body></body>');
// Mermaid and DOMPurify look for a page when they are imported.
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import('mermaid');
mermaid.initialize({ startOnLoad: false, logLevel: 5, suppressErrorRendering: true });
for (const level of ['log', 'info', 'warn', 'error', 'debug']) console[level] = () => {};

function shown(raw, labelType = 'text') {
  let html = String(raw).replace(/ﬂ°°/g, '&#').replace(/ﬂ°/g, '&').replace(/¶ß/g, ';');
  if (labelType !== 'markdown') html = html.replace(/\\n/g, '<br/>');
  const page = window.document.createElement('div');
  page.innerHTML = html;
  for (const br of page.querySelectorAll('br')) br.replaceWith('\n');
  return page.textContent;
}

async function answer(text) {
  try {
    await mermaid.parse(text);
    const { db, type } = await mermaid.mermaidAPI.getDiagramFromText(text);
    if (!/^flowchart/.test(type)) return { error: `not a flowchart but ${type}` };
    return {
      direction: db.getDirection(),
      vertices: [...db.getVertices().values()].map((v) => ({
        id: v.id,
        text: shown(v.text, v.labelType),
        type: v.type ?? null,
      })),
      edges: db.getEdges().map((e) => ({
        start: e.start,
        end: e.end,
        label: shown(e.text, e.labelType),
        type: e.type,
        stroke: e.stroke,
        length: e.length ?? null,
      })),
      subgraphs: db.getSubGraphs().map((s) => ({
        id: s.id,
        title: shown(s.title, s.labelType),
        nodes: s.nodes,
        dir: s.dir ?? null,
      })),
    };
  } catch (error) {
    return { error: String(error?.message ?? error).split('\n')[0] };
  }
}

function* charts(path) {
  const parts = readFileSync(path, 'utf8').split(/^=== (.*)\n/m);
  for (let i = 1; i < parts.length; i += 2) yield [parts[i], parts[i + 1].replace(/\n$/, '')];
}

const here = dirname(fileURLToPath(import.meta.url));
const corpus = join(here, '..', '..', 'mermaid');
const given = process.argv.slice(2);
const files = given.length ? given : readdirSync(corpus).filter((name) => name.endsWith('.mmd')).sort();
const golden = {};
for (const file of files) {
  const answers = {};
  for (const [name, text] of charts(given.length ? file : join(corpus, file))) answers[name] = await answer(text);
  golden[file] = answers;
}
// One chart per line, so that a diff shows which answers changed.
const lines = (answers) => Object.entries(answers).map(([name, said]) => `  ${JSON.stringify(name)}: ${JSON.stringify(said)}`);
const blocks = Object.entries(golden).map(
  ([file, answers]) => ` ${JSON.stringify(file)}: {\n${lines(answers).join(',\n')}\n }`,
);
const json = `{\n${blocks.join(',\n')}\n}\n`;
if (given.length) process.stdout.write(json);
else writeFileSync(join(corpus, 'golden.json'), json);
