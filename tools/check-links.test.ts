import { expect, it } from 'vitest'
import { complaintsAbout, namedPaths } from './check-links.ts'

const nothingExists = () => false

it('a link is read from where its document stands', () => {
  expect(namedPaths('docs/design/data-plane.md', 'See [the terms](../glossary.md#chunk).')).toEqual([
    'docs/glossary.md',
  ])
})

it('a quoted path is read from the root', () => {
  expect(namedPaths('docs/x.md', 'Code: `crates/nbd/src/lib.rs`.')).toEqual(['crates/nbd/src/lib.rs'])
})

it('a path that does not exist is named with its document', () => {
  expect(complaintsAbout('README.md', '[why](docs/decisions)', nothingExists)).toEqual([
    'README.md: docs/decisions does not exist',
  ])
})

it.each([
  'https://restic.net in a [link](https://restic.net)',
  '[above](#terms)',
  '`packages/*/src` and `docs/problems/<code>.md` are patterns',
  '`packages/engine/native/engine.node` is built',
  '```\n`crates/example`\n```',
])('no file is looked for in: %s', text => {
  expect(complaintsAbout('README.md', text, nothingExists)).toEqual([])
})
