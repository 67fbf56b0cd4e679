import ms from "ms";

export function days(count: number): number {
  return ms(`${count}d`);
}
