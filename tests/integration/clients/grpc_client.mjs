// A gRPC client that knows of no proxy but by its environment. Usage: clear|tls HOST:PORT; a JSON line.
import grpc from "@grpc/grpc-js";
import { service } from "./grpc_service.mjs";

const [kind, target] = process.argv.slice(2);
const credentials = kind === "tls" ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
const Echo = grpc.makeGenericClientConstructor(service, "Echo");
const client = new Echo(target, credentials);
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${process.env.TOKEN}`);
const deadline = { deadline: Date.now() + 60000 };
client.echo({ said: "hello" }, metadata, deadline, (error, answer) => {
  if (error) {
    console.log(JSON.stringify({ code: error.code, details: error.details }));
    return client.close();
  }
  let count = 0;
  client.count({ n: 1000 }, metadata, deadline)
    .on("data", () => count++)
    .on("error", (failed) => console.log(JSON.stringify({ code: failed.code })))
    .on("end", () => { console.log(JSON.stringify({ ...answer, count })); client.close(); });
});
