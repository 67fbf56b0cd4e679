export * from '../b.mjs'
