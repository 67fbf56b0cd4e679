import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ClassicLevel } from "classic-level";

import type { Parcel } from "./store.js";

const labels = new ClassicLevel<string, string>(await mkdtemp(join(tmpdir(), "labels-")));

/** Keeps the text of a parcel's label. */
export function print(parcel: Parcel): Promise<void> {
  return labels.put(parcel.id, `${parcel.id} ${(parcel.cents / 100).toFixed(2)}`);
}

/** The text of a label that was printed. */
export async function label(id: string): Promise<string | undefined> {
  return labels.get(id);
}
