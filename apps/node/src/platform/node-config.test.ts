import { expect, test } from 'vitest'
import { allowsClearText, readNodeConfig } from './node-config.ts'

test('without settings the disks travel encrypted', () => {
  const config = readNodeConfig({})
  expect(config.nbdkit.transports).toBe('nbdssl')
  expect(allowsClearText(config)).toBe(false)
})

test('clear text has to be asked for, and is noticed wherever it stands', () => {
  expect(allowsClearText(readNodeConfig({ SENDENSE_VDDK_TRANSPORTS: 'nbdssl:nbd' }))).toBe(true)
})

test('all that is wrong with the settings is said at once', () => {
  const read = () =>
    readNodeConfig({ SENDENSE_NODE_STATE_DIR: 'relative', SENDENSE_VDDK_TRANSPORTS: 'nbd smoke' })
  expect(read).toThrow(/absolute path.*transport modes/s)
})

test('a state directory must leave room for the path of a socket', () => {
  expect(() => readNodeConfig({ SENDENSE_NODE_STATE_DIR: `/${'x'.repeat(90)}` })).toThrow('80 characters')
})
