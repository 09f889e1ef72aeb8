// A gRPC service that says what it was sent. Usage: KEY CERT; prints its ports, in clear and by TLS.
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { service } from "./grpc_service.mjs";

const server = new grpc.Server();
server.addService(service, {
  echo(call, answer) {
    answer(null, { said: call.request.said, authorization: call.metadata.get("authorization") });
  },
  count(call) {
    for (let n = 0; n < call.request.n; n++) call.write({ n });
    call.end();
  },
});
const bind = (credentials) =>
  new Promise((done, failed) =>
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? failed(error) : done(port))));
const [key, certificate] = process.argv.slice(2).map((file) => readFileSync(file));
const clear = await bind(grpc.ServerCredentials.createInsecure());
const tls = await bind(grpc.ServerCredentials.createSsl(null, [{ private_key: key, cert_chain: certificate }]));
console.log(JSON.stringify({ clear, tls }));
