import PQueue from "p-queue";
import { pino } from "pino";

import { Parcel, postage } from "@parcels/shared";

const log = pino({ name: "worker" });
const queue = new PQueue({ concurrency: 4 });

const waiting: unknown[] = [
  { id: "p-1", weightGrams: 420, status: "announced" },
  { id: "p-2", weightGrams: 2300, status: "in_transit" },
];

for (const item of waiting) {
  void queue.add(async () => {
    const parcel = Parcel.parse(item);
    log.info({ id: parcel.id, cents: postage(parcel) }, "quoted");
  });
}

await queue.onIdle();
