import { expect, it } from 'vitest'
import { complaintsAbout } from './check-problem-pages.ts'

const problems = { 'disk-locked': { status: 409, title: 'The disk is locked' } }

const aPage = (text = '') => `# The disk is locked

Code \`disk-locked\`, status 409.

## What happened

The disk is open elsewhere.

## Why

Another program reads it.
${text}
## What to do

Close it there.
`

it('a code with a complete page passes', () => {
  expect(complaintsAbout(problems, new Map([['disk-locked', aPage()]]))).toEqual([])
})

it('a code without a page is named', () => {
  expect(complaintsAbout(problems, new Map())).toEqual(['docs/problems/disk-locked.md is missing'])
})

it('a page without a code is named', () => {
  const pages = new Map([
    ['disk-locked', aPage()],
    ['disk-lost', aPage()],
  ])

  expect(complaintsAbout(problems, pages)).toEqual(['docs/problems/disk-lost.md: no such problem code'])
})

it('a page must carry the title and status of the contract', () => {
  const page = aPage().replace('409', '410')

  expect(complaintsAbout(problems, new Map([['disk-locked', page]]))).toEqual([
    expect.stringContaining('must begin with "# The disk is locked'),
  ])
})

it('a page must have its three sections in order', () => {
  const page = aPage().replace('## Why', '## Reason')

  expect(complaintsAbout(problems, new Map([['disk-locked', page]]))).toEqual([
    'docs/problems/disk-locked.md: needs the sections What happened, Why, What to do, in this order',
  ])
})

it('a section must say something', () => {
  const page = aPage().replace('Another program reads it.', '')

  expect(complaintsAbout(problems, new Map([['disk-locked', page]]))).toEqual([
    'docs/problems/disk-locked.md: the section Why is empty',
  ])
})
