// Where things that are built once live: outside the work tree, shared by every clone.

import { homedir } from "node:os";
import { join } from "node:path";

export const cacheDir = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "kube-access");
