// A client of the API as its document describes it. It is compiled, never run: what the
// document leaves vague, or names wrongly, is a type error here.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.ts";

type Event = components["schemas"]["Event"];

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:7700" });

export async function values(): Promise<unknown> {
  const made = await client.PUT("/v1/keys/{key}", {
    params: { path: { key: "tasks/1" }, query: { ttl: "30s", replicas: 2 }, header: { "If-None-Match": "*" } },
    body: { any: ["JSON", 1, null] },
  });
  if (made.error) throw new Error(`${made.error.code}: ${made.error.detail}`);
  const created: boolean = made.data.created;
  const version: string | undefined = made.data.version;
  const got = await client.GET("/v1/keys/{key}", { params: { path: { key: made.data.key } } });
  return [created, version, got.data];
}

export async function batch(): Promise<string[]> {
  const { data, error } = await client.POST("/v1/batch", {
    body: { operations: [{ op: "put", key: "a", value: 1 }, { op: "delete", key: "b" }] },
  });
  if (error) throw new Error(`operation ${error.index ?? "?"}: ${error.detail}`);
  return data.items.map((written) => written.key);
}

export async function allKeys(): Promise<string[]> {
  const keys: string[] = [];
  for (let after: string | undefined = ""; after !== undefined; ) {
    const { data, error }: Awaited<ReturnType<typeof page>> = await page(after);
    if (error) throw new Error(error.detail);
    keys.push(...data.items.map((k) => `${k.key}@${k.version}`));
    after = data.next;
  }
  return keys;
}

const page = (after: string) => client.GET("/v1/keys", { params: { query: { match: "tasks/**", after } } });

export async function lock(): Promise<number> {
  const path = { key: "deploy" };
  const { data, error } = await client.POST("/v1/locks/{key}", { params: { path }, body: { ttl: "10s", wait: "30s" } });
  if (error) throw new Error(`${error.code}: held`);
  const lease: string = data.lease;
  await client.PUT("/v1/locks/{key}", { params: { path }, body: { lease } });
  await client.DELETE("/v1/locks/{key}", { params: { path, query: { lease } } });
  return data.token;
}

export async function watch(seen: (e: Event) => void): Promise<void> {
  const { response } = await client.GET("/v1/watch", { params: { query: { match: "**" } }, parseAs: "stream" });
  for (const line of (await response.text()).split("\n")) {
    if (line.startsWith("data: ")) seen(JSON.parse(line.slice("data: ".length)) as Event);
  }
}

// The compiler holds the events of the stream to those that a client names.
type Streamed = paths["/v1/watch"]["get"]["responses"][200]["content"]["text/event-stream"];
export const told = (e: Streamed): string => {
  switch (e.cause) {
    case "lagged":
      return "events were missed, and all there is follows anew";
    default:
      return `${e.key ?? ""} ${e.cause} by ${e.writer ?? "?"}`;
  }
};
