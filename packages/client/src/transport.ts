export interface TransportRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
  /** The answer goes on without end: hand its bytes over as they come, and set no time limit. */
  readonly isStream: boolean
}

export interface TransportResponse {
  readonly status: number
  readonly statusText: string
  /** The whole body. */
  text(): Promise<string>
  /** The body as it comes. */
  chunks(): AsyncIterable<Uint8Array>
}

/** How requests travel. Throws `ConnectionError` when no answer comes, and the signal's reason when aborted. */
export type Transport = (request: TransportRequest) => Promise<TransportResponse>
