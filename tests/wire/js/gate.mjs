// Gates of the graph `patient`: its answer stops in the middle until a gate is opened.

import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export class Gate {
  path = join(process.env.GATES, randomUUID());

  open() {
    writeFileSync(this.path, "");
  }
}
