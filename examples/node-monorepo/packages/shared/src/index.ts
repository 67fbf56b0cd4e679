import { z } from "zod";

export const Parcel = z.object({
  id: z.string().min(1),
  weightGrams: z.number().int().positive(),
  status: z.enum(["announced", "in_transit", "delivered"]),
});

export type Parcel = z.infer<typeof Parcel>;

/** Postage in cents: a base price, and one step for every started kilogram. */
export function postage(parcel: Parcel): number {
  return 349 + Math.ceil(parcel.weightGrams / 1000) * 120;
}
