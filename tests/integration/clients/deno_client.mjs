// Deno's own fetch, which knows of the proxy what its environment says, no more. See node_client.mjs: the same steps.
//
// deno run --allow-net --allow-env deno_client.mjs BASE...      with TOKEN set
const headers = { Authorization: `Bearer ${Deno.env.get("TOKEN")}` };
const body = "x".repeat(100_000);

for (const base of Deno.args) {
  const say = (line) => console.log(JSON.stringify({ base, ...line }));
  for (let i = 0; i < 2; i++) {
    const answer = await fetch(`${base}/a2a/whoami`, { headers });
    say({ step: "whoami", status: answer.status, body: await answer.json() });
  }
  const echo = await fetch(`${base}/a2a/echo`, { method: "POST", headers, body });
  say({ step: "echo", status: echo.status, body: await echo.json() });
  const events = await fetch(`${base}/a2a/sse?n=4&ms=200`, { headers });
  for await (const piece of events.body.pipeThrough(new TextDecoderStream())) {
    for (const line of piece.split("\n").filter((text) => text.startsWith("data: "))) {
      say({ step: "event", at: performance.now(), text: line });
    }
  }
}
