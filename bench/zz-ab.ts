import { Stage } from "./stage.ts";
import { builtIn } from "./peers.ts";
import { rateAndCpu } from "./http.ts";
import { httpRequest } from "./requests.ts";
const dirs = process.argv.slice(2).filter((a) => !a.startsWith("--"));
const isAudited = process.argv.includes("--audit");
const stage = await Stage.open({ rounds: 1, seconds: 0.12, worker: dirs[0] });
await stage.keep("small", [httpRequest("/api/v1/namespaces/default/pods/web", stage.token)]);
const peers: [string, any][] = [["bare", stage.peers.bare], ["jr", stage.peers["jose-remembers"]], ...dirs.map((d) => [d, builtIn(d)] as [string, any])];
const cpu: Record<string, number[]> = {};
for (let p = 0; p < 3; p++) {
  await stage.renew();
  for (const [n, peer] of peers) { const r = await stage.running(peer, { isAudited }); await rateAndCpu(stage, r, 8, undefined); }
  for (let i = 0; i < 20; i++) for (const [n, peer] of i % 2 ? peers : peers.toReversed()) {
    const r = await stage.running(peer, { isAudited }); const [, c] = await rateAndCpu(stage, r, 8, i); (cpu[n] ??= []).push(c);
  }
}
const q = (v: number[], p: number) => v.toSorted((a, b) => a - b)[Math.floor(v.length * p)]!;
const med = (n: string) => q(cpu[n]!.map((c, i) => c / cpu.bare![i]!), 0.5);
for (const [n] of peers) console.log(n.padEnd(20), "p10", q(cpu[n]!, 0.1).toFixed(1), "p50", q(cpu[n]!, 0.5).toFixed(1), "ratio p10", (q(cpu[n]!, 0.1) / q(cpu.bare!, 0.1)).toFixed(3), "median of ratios", med(n).toFixed(3));
await stage.close();
process.exit(0);
