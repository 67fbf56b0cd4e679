import sqlite3 from "sqlite3";

export interface Parcel {
  id: string;
  grams: number;
  cents: number;
}

const database = new sqlite3.Database(":memory:");

/** Creates the tables and the parcels that are waiting. */
export function open(): Promise<void> {
  return new Promise((resolve, reject) => {
    database.exec(
      `CREATE TABLE parcels (id TEXT PRIMARY KEY, grams INTEGER NOT NULL);
       INSERT INTO parcels VALUES ('p-1', 420), ('p-2', 2300), ('p-3', 1000);`,
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

/** Every parcel with its postage: a base price, and one step for every started kilogram. */
export function parcels(): Promise<Parcel[]> {
  return new Promise((resolve, reject) => {
    database.all<Parcel>(
      "SELECT id, grams, 349 + (grams + 999) / 1000 * 120 AS cents FROM parcels ORDER BY id",
      (error, rows) => (error ? reject(error) : resolve(rows)),
    );
  });
}
