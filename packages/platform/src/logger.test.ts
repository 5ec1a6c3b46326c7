import { expect, test } from 'vitest'
import { createLogger } from './logger.ts'

function logged(write: (log: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = []
  write(createLogger({ product: 'hub', level: 'info', destination: { write: line => lines.push(line) } }))
  return lines
}

test('a line tells product, level, message and fields', () => {
  const [line] = logged(log => log.child({ jobId: 'j' }).info('Job started', { disks: 2 }))
  expect(JSON.parse(line ?? '')).toMatchObject({
    product: 'hub',
    level: 'info',
    msg: 'Job started',
    jobId: 'j',
    disks: 2,
  })
})

test('lines below the level are not written', () => {
  expect(logged(log => log.debug('nobody reads this'))).toEqual([])
})

test('secrets are redacted wherever they lie', () => {
  const secret = 'hunter2-hunter2'
  const lines = logged(log => {
    log.info('a', { password: secret, body: { list: [{ newPassword: secret, accessToken: secret }] } })
    log.info('b', { headers: { Authorization: `Bearer ${secret}` }, vcenter: { sealedCredentials: secret } })
    log.child({ ticket: secret }).warn('c', { pairingCode: secret, masterKey: Buffer.from(secret) })
  })
  expect(lines).toHaveLength(3)
  expect(lines.join('')).not.toContain('hunter2')
  expect(lines[0]).toContain('[redacted]')
})

test('what only speaks of a secret is logged', () => {
  const fields = { pairingCodeId: '7', tokenExpiresAt: '2026', password: null, isTokenValid: true }
  const [line] = logged(log => log.info('a', fields))
  expect(JSON.parse(line ?? '')).toMatchObject(fields)
})

test('an error is logged with its causes, but without what an HTTP client hangs on it', () => {
  const cause = Object.assign(new Error('connect ECONNREFUSED'), {
    code: 'ECONNREFUSED',
    config: { headers: { 'x-key': 'hunter2' } },
  })
  const [line] = logged(log => log.error('Failed', { error: new Error('No answer', { cause }) }))
  expect(line).not.toContain('hunter2')
  expect(JSON.parse(line ?? '').error).toMatchObject({
    message: 'No answer',
    cause: { message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
  })
})
