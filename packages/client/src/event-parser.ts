export interface ServerEvent {
  /** `message` when the server named none. */
  readonly type: string
  readonly data: string
  readonly id: string | undefined
}

/** Longest event that is accepted. */
const EVENT_CHARS_MAX = 4 * 1024 * 1024

/** Takes a stream of server-sent events apart (WHATWG HTML, section 9.2.6). */
export async function* parseEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    // A lone CR at the end of a chunk may be half of a CRLF; our servers send LF only.
    rest += decoder.decode(chunk, { stream: true }).replaceAll('\r\n', '\n')
    const blocks = rest.split('\n\n')
    rest = blocks.pop() ?? ''
    if (rest.length > EVENT_CHARS_MAX) throw new Error('An event of the server is too long')
    for (const block of blocks) {
      const event = toEvent(block)
      if (event) yield event
    }
  }
}

function toEvent(block: string): ServerEvent | undefined {
  const fields = new Map<string, string[]>()
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? []
    fields.set(name, [...(fields.get(name) ?? []), value])
  }
  const data = fields.get('data')
  if (!data) return undefined
  return {
    type: fields.get('event')?.at(-1) ?? 'message',
    data: data.join('\n'),
    id: fields.get('id')?.at(-1),
  }
}
