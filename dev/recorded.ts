// What `npm start -- --record` runs: identities.yaml, and one guard more, by which bob is recorded.

import { localUsers } from "./users.ts";
import type { Variant } from "./variant.ts";

/** Whom it records. */
export const RECORDED = "bob";

const user = localUsers.find(({ name }) => name === RECORDED);
const users = [user && "email" in user ? user.email : RECORDED];

export const recording: Variant = {
  name: "recorded",
  guards: [{ name: "recorded", for: { users }, record: true, max_session: "4h" }],
};
