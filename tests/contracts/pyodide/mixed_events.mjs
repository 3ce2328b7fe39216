// Prints pyodide's version, and the digest of tests/contracts/mixed_events.py in it.
//
//     node mixed_events.mjs REPOSITORY SEED COUNT
import { loadPyodide } from "pyodide";

const [repository, seed, count] = process.argv.slice(2);
const python = await loadPyodide();
python.mountNodeFS("/repository", repository);
const answer = python.runPython(`
import json
import sys

sys.dont_write_bytecode = True
sys.path[:0] = ["/repository/contracts", "/repository"]
from tests.contracts import mixed_events

digest = mixed_events.run(${Number(seed)}, ${Number(count)})[1]
json.dumps({"python": sys.version.split()[0], "platform": sys.platform, "digest": digest})
`);
console.log(answer);
