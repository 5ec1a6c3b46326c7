import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseEvents, type ServerEvent } from './event-parser.ts'

async function parse(chunks: Uint8Array[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = []
  const source = async function* () {
    yield* chunks
  }
  for await (const event of parseEvents(source())) events.push(event)
  return events
}

test('events, comments and several data lines, wherever the stream is cut', async () => {
  const text = ': hello\n\nid: 1\ndata: {"a":"ü€😀"}\n\nevent: end\ndata: one\ndata: two\n\ndata: cut off'
  const bytes = new TextEncoder().encode(text)
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 8 }), async cuts => {
      const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      const chunks = edges.slice(1).map((end, i) => bytes.slice(edges[i], end))
      expect(await parse(chunks)).toEqual([
        { type: 'message', data: '{"a":"ü€😀"}', id: '1' },
        { type: 'end', data: 'one\ntwo', id: undefined },
      ])
    }),
  )
})

test('an event without end is refused before it fills the memory', async () => {
  const chunk = new TextEncoder().encode('x'.repeat(1024 * 1024))
  await expect(parse(Array(6).fill(chunk))).rejects.toThrow('too long')
})
