// What a person writes with the types that openapi-typescript makes: compiled with tsc --strict, then run against a
// service by clients.sh.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

const client = createClient<paths>({ baseUrl: process.argv[2]! });
const event: components["schemas"]["EventRequest"] = { type: "withdraw", amount: "150.00", user_id: 7, time: 10 };

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function main(): Promise<void> {
  const decision = await client.POST("/event", { body: event });
  expect(decision.data?.alert_codes.includes(1100) === true, "a large withdrawal raises 1100");

  const user = await client.POST("/users", { body: { name: "Ada" } });
  expect(user.data?.total === "0.00", "a user needs no opening balance");

  const page = await client.GET("/alerts", { params: { query: { user_id: 7, status: "open" } } });
  const [newest] = page.data!.alerts;
  expect(newest?.amount === "150.00", "the alert is listed");

  const changed = await client.PATCH("/users/{user_id}", {
    params: { path: { user_id: 7 } },
    body: { risk: "high", overrides: { "1100": { threshold: "50.00" } } },
  });
  expect(changed.data?.overrides["1100"]?.threshold === "50.00", "an override is answered");

  const { error, response } = await client.GET("/alerts/{alert_id}", { params: { path: { alert_id: "7-9-7" } } });
  expect(response.status === 404 && error?.type === "urn:problem:unknown-alert", "a 404 is a problem");

  const refused = await client.POST("/event", { body: { ...event, amount: "0" } });
  expect(refused.error?.errors?.[0]?.pointer === "/amount", "a 400 names the field");
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
