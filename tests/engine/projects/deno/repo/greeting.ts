export function greeting(span: number): string {
  return `two days are ${span}\n`;
}
