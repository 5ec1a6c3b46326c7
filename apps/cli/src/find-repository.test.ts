import type { Repository } from '@sendense/contracts'
import { expect, test } from 'vitest'
import type { CommandContext } from './command-context.ts'
import { findToRemove } from './find-repository.ts'

const LISTED = '0190b0a0-0000-7000-8000-000000000001'
const UNLISTED = '0190b0a0-0000-7000-8000-000000000002'

test('what is removed is found by its name or its id; an id that is in no list is taken as it is', async () => {
  for (const wanted of ['main', LISTED]) {
    expect(await findToRemove(context(), wanted)).toMatchObject({ id: LISTED, name: 'main' })
  }
  expect(await findToRemove(context(), UNLISTED)).toEqual({ id: UNLISTED, name: UNLISTED })
  await expect(findToRemove(context(), 'other')).rejects.toThrow('There is no repository "other"')
})

/** A Hub with one repository. */
function context(): CommandContext {
  const items = [{ id: LISTED, name: 'main' } as Repository]
  const repositories = { listRepositories: async () => ({ items }) }
  return { client: async () => ({ repositories }) } as unknown as CommandContext
}
