import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import type { DataPlaneAccess } from '@sendense/contracts'
import { pinnedAgent } from '@sendense/platform'

/** An answer of the data plane; `code` where it is a problem. */
export interface RawAnswer {
  readonly status: number
  readonly code: string | undefined
  readonly body: string
}

/** What a request shall differ in from a proper one. */
export interface RawChanges {
  readonly ticket?: string | undefined
  readonly captureId?: string
  readonly diskKey?: string
  readonly version?: string
}

/** Requests of the data plane written by hand after docs/design/data-plane.md, independently of the engine. */
export class RawDataPlane {
  readonly #access: DataPlaneAccess
  readonly #certificateSha256: string
  readonly #diskKey: string

  constructor(access: DataPlaneAccess, certificateSha256: string, diskKey: number) {
    this.#access = access
    this.#certificateSha256 = certificateSha256
    this.#diskKey = String(diskKey)
  }

  open(sizeBytes: number, coverage = 'complete', changes: RawChanges = {}): Promise<RawAnswer> {
    return this.post('open', JSON.stringify({ sizeBytes, coverage }), changes)
  }

  offer(entries: readonly { index: number; id: Buffer }[], changes: RawChanges & { attempt?: number } = {}) {
    const head = Buffer.alloc(24)
    head.write('SDO1', 0, 'latin1')
    head.writeUInt32BE(changes.attempt ?? 1, 4)
    head.writeBigUInt64BE(BigInt(Math.floor(performance.now() * 1000)), 8)
    head.writeUInt32BE(entries.length, 16)
    const body = entries.flatMap(({ index, id }) => [u64(index), id])
    return this.post('offer', Buffer.concat([head, ...body]), changes)
  }

  chunks(frames: readonly Buffer[], changes: RawChanges & { attempt?: number } = {}): Promise<RawAnswer> {
    const head = Buffer.concat([Buffer.from('SDC1'), u32(changes.attempt ?? 1), u32(frames.length)])
    return this.post('chunks', Buffer.concat([head, ...frames]), changes)
  }

  finish(offeredChunks: number, zeroChunks: number): Promise<RawAnswer> {
    return this.post('finish', JSON.stringify({ attempt: 1, offeredChunks, zeroChunks }))
  }

  /** Sends a body to one of the four paths and reads the whole answer. */
  async post(action: string, body: Buffer | string, changes: RawChanges = {}): Promise<RawAnswer> {
    const { captureId = this.#access.captureId, diskKey = this.#diskKey, version = 'v1' } = changes
    const ticket = 'ticket' in changes ? changes.ticket : this.#access.ticket
    const agent = pinnedAgent({ certificateSha256: this.#certificateSha256 }, {})
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const options = {
          ...{ host: '127.0.0.1', port: this.#access.port, method: 'POST', agent },
          path: `/data/${version}/captures/${captureId}/disks/${diskKey}/${action}`,
          headers: {
            'content-length': Buffer.byteLength(body),
            ...(ticket !== undefined && { authorization: `Bearer ${ticket}` }),
          },
        }
        request(options, resolve).once('error', reject).end(body)
      })
      const answered = await text(answer)
      return { status: answer.statusCode ?? 0, code: codeIn(answered), body: answered }
    } finally {
      agent.destroy()
    }
  }
}

/** SHA-256, the id of a chunk. */
export function idOf(chunk: Uint8Array): Buffer {
  return createHash('sha256').update(chunk).digest()
}

/** A chunk on its way: what a proper frame says unless told otherwise. */
export function frame(
  payload: Buffer,
  { id = idOf(payload), plain = payload.length, stored = payload.length, codec = 0 } = {},
): Buffer {
  return Buffer.concat([id, u32(plain), u32(stored), Buffer.from([codec, 0, 0, 0]), payload])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

function codeIn(body: string): string | undefined {
  try {
    const { code } = JSON.parse(body) as { code?: unknown }
    return typeof code === 'string' ? code : undefined
  } catch {
    return undefined
  }
}
