import { z } from "zod";

export const Parcel = z.object({ weightGrams: z.number().int().positive() });

/** A base price in cents, and one step for every started kilogram. */
export function quote(parcel: z.infer<typeof Parcel>): number {
  return 349 + Math.ceil(parcel.weightGrams / 1000) * 120;
}
