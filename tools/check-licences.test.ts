import { describe, expect, it } from 'vitest'
import { complaintsAbout, isAllowed } from './check-licences.ts'

const aPackage = (name: string, license: string) => ({ name, versions: ['1.0.0'], license })

describe('a package', () => {
  it('under a listed licence passes', () => {
    expect(complaintsAbout([aPackage('left', 'MIT'), aPackage('right', 'Apache-2.0')])).toEqual([])
  })

  it('under another licence is named with it', () => {
    expect(complaintsAbout([aPackage('left', 'AGPL-3.0-only')])).toEqual([
      'left@1.0.0: the licence AGPL-3.0-only is not on the list',
    ])
  })

  it('without a licence is not taken on trust', () => {
    expect(complaintsAbout([aPackage('left', 'Unknown')])).toHaveLength(1)
  })

  it('that was read by hand passes in the version that was read', () => {
    expect(complaintsAbout([{ name: 'pause', versions: ['0.0.1'], license: 'Unknown' }])).toEqual([])
    expect(complaintsAbout([{ name: 'pause', versions: ['0.0.2'], license: 'Unknown' }])).toHaveLength(1)
  })

  it('may be under a weaker licence only when it is not shipped', () => {
    const tool = [aPackage('tool', 'MPL-2.0')]

    expect(complaintsAbout(tool)).toHaveLength(1)
    expect(complaintsAbout(tool, ['MPL-2.0'])).toEqual([])
  })
})

describe('a licence expression', () => {
  it.each([
    ['MIT', true],
    ['GPL-3.0', false],
    ['MIT OR GPL-3.0', true],
    ['GPL-3.0 OR MIT', true],
    ['MIT AND GPL-3.0', false],
    ['MIT AND ISC', true],
    ['(MIT OR GPL-3.0) AND ISC', true],
    ['GPL-3.0 OR MIT AND ISC', true],
    ['(GPL-3.0 OR MIT) AND LGPL-3.0', false],
    ['MIT ISC', false],
    ['(MIT', false],
    ['', false],
  ])('%s is allowed: %s', (expression, expected) => {
    expect(isAllowed(expression, ['MIT', 'ISC'])).toBe(expected)
  })
})
