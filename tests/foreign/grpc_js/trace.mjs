// Asks a node over mTLS for a trace, with nothing of Lotmark but its .proto files, and prints the
// answer as one line of JSON. Its one argument is a JSON file that says whom to ask for what.

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const asked = JSON.parse(readFileSync(process.argv[2], "utf8"));
const definition = loader.loadSync("lotmark/v1/provenance.proto", {
  includeDirs: [asked.proto_folder],
  longs: Number,
  enums: String,
  keepCase: true,
});
const { ProvenanceService } = grpc.loadPackageDefinition(definition).lotmark.v1;
const [authority, key, certificate] = [asked.ca, asked.key, asked.certificate].map((path) =>
  readFileSync(path),
);
const client = new ProvenanceService(
  asked.address,
  grpc.credentials.createSsl(authority, key, certificate),
  { "grpc.ssl_target_name_override": asked.server_name },
);

const answer = { heads: [], nodes: [], edges: [], error: null };
const deadline = Date.now() + asked.timeout_s * 1000;
const call = client[asked.method](asked.request, { deadline });
call.on("data", (page) => {
  if (page.head) answer.heads.push(page.head);
  answer.nodes.push(...(page.nodes ?? []));
  answer.edges.push(...(page.edges ?? []));
});
call.on("error", (error) => {
  const named = error.metadata?.get("lotmark-candidate-bin") ?? [];
  answer.error = {
    status: grpc.status[error.code],
    details: error.details,
    candidates: named.map((each) => each.toString("utf8")),
  };
  finish();
});
call.on("end", finish);

let isFinished = false;
function finish() {
  if (isFinished) return;
  isFinished = true;
  client.close();
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
