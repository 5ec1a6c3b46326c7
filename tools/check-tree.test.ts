import { describe, expect, it } from 'vitest'
import { complaintsAboutSize, complaintsAboutText } from './check-tree.ts'

// Put together here, so that this file holds none of what it looks for.
const KEY_HEAD = ['-----BEGIN', 'PRIVATE KEY-----'].join(' ')
const HOME = ['/ho', 'me/'].join('')

describe('a file', () => {
  it.each([
    ['a path of one person’s machine', `cd ${HOME}alice/sendense`],
    ['a path of one person’s machine', `open("${['/Us', 'ers/'].join('')}alice/x")`],
    ['a private key', `${KEY_HEAD}\nMIGHAgEAMBMGByqGSM49AgEGCCqG\n`],
    ['an access key', `key = ${['AK', 'IA'].join('')}ABCDEFGHIJKLMNOP`],
    ['a JSON web token', ['ey', 'JhbGciOiJIUzI1.ey', 'JzdWIiOiIxMjM0.c2lnbmF0dXJlIQ'].join('')],
  ])('with %s is named with its line', (name, text) => {
    expect(complaintsAboutText('notes.md', `first\n${text}`)).toEqual([`notes.md:2: ${name}`])
  })

  it.each([
    `the folder ${HOME}<user>/ of the user`,
    '~/.cache/sendense',
    'GET /api/v1/homepage',
    `${KEY_HEAD} stands at the start of such a file`,
  ])('that only talks about it passes: %s', text => {
    expect(complaintsAboutText('notes.md', text)).toEqual([])
  })

  it('may plant one where it says so', () => {
    expect(complaintsAboutText('x.test.ts', `log('${HOME}alice/x') // planted-secret`)).toEqual([])
  })

  it('of more than 1 MiB is named unless it is known', () => {
    const sizeBytes = 1024 * 1024 + 1

    expect(complaintsAboutSize('golden.tar', sizeBytes)).toHaveLength(1)
    expect(complaintsAboutSize('golden.tar', sizeBytes, ['golden.tar'])).toEqual([])
    expect(complaintsAboutSize('golden.tar', sizeBytes - 1)).toEqual([])
  })
})
