// A machine with a counter and a current, served by node-opcua.
// Arguments: port, certificate (PEM), key (PEM), folder of its own, password of the user "edge".
// Each line on standard input is a number of pieces to make at once. If it is not told otherwise,
// this server tells all changes within 50 ms as one.
import { createInterface } from "node:readline";
import {
  DataType,
  MessageSecurityMode,
  OPCUACertificateManager,
  OPCUAServer,
  SecurityPolicy,
  nodesets,
} from "node-opcua";

const [port, certificateFile, privateKeyFile, rootFolder, password] = process.argv.slice(2);

const certificates = new OPCUACertificateManager({
  automaticallyAcceptUnknownCertificate: true,
  rootFolder,
});
await certificates.initialize();
const server = new OPCUAServer({
  port: Number(port),
  hostname: "127.0.0.1",
  certificateFile,
  privateKeyFile,
  serverCertificateManager: certificates,
  securityPolicies: [SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes256_Sha256_RsaPss],
  securityModes: [MessageSecurityMode.SignAndEncrypt],
  allowAnonymous: false,
  userManager: { isValidUser: (user, given) => user === "edge" && given === password },
  serverCapabilities: { minSupportedSampleRate: 0 },
  nodeset_filename: [nodesets.standard],
  serverInfo: { applicationUri: "urn:foreign:machine" },
});
await server.initialize();
const namespace = server.engine.addressSpace.getOwnNamespace();
const machine = namespace.addObject({
  organizedBy: server.engine.addressSpace.rootFolder.objects,
  browseName: "Machine",
});
const signal = (name, dataType) =>
  namespace.addVariable({
    componentOf: machine,
    browseName: name,
    nodeId: `s=${name}`,
    dataType,
    minimumSamplingInterval: 0,
  });
const counter = signal("Counter", "UInt32");
const current = signal("Current", "Float");
let made = 0;
const tell = () => {
  counter.setValueFromSource({ dataType: DataType.UInt32, value: made });
  current.setValueFromSource({ dataType: DataType.Float, value: made / 4 });
};
tell();
await server.start();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  for (let piece = 0; piece < Number(line); piece++) {
    made++;
    tell();
  }
}
await server.shutdown();
process.exit(0);
