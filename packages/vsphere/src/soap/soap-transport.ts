import axios, { type AxiosInstance, type AxiosResponse } from 'axios'
import type { ConnectOptions } from '../types.ts'
import { VsphereError } from '../vsphere-error.ts'
import { type ServerTrust, VerifyingAgent } from './certificate-pin.ts'
import { decodeAnswer, encodeCall, invalidAnswer, type SoapCall } from './soap-message.ts'
import type { XmlElement } from './xml-element.ts'

/** What a single call may ask of the transport. */
export interface SendOptions {
  readonly signal?: AbortSignal | undefined
  /** Time that the server may take on purpose (long polls), on top of the ordinary. */
  readonly extraTimeoutMs?: number
}

/** 5,000 VMs with all their devices are some 60 MB in one answer, and we ask for pages of 50. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024
const SESSION_COOKIE = 'vmware_soap_session'
const DEFAULT_TIMEOUT_MS = 60_000

/**
 * Sends calls and reads answers; keeps connections and the session cookie. Knows nothing of logins.
 *
 * Errors of axios hold the whole request. They are looked at here and never passed on.
 */
export class SoapTransport {
  readonly server: string
  readonly #url: string
  readonly #http: AxiosInstance
  readonly #agent: VerifyingAgent
  readonly #timeoutMs: number
  #cookie: string | undefined
  /** Oldest API that has all we use; the server's own once it is known. */
  apiVersion = '6.5'

  constructor(options: ConnectOptions, maxAnswerBytes = MAX_ANSWER_BYTES) {
    const url = endpointUrl(options)
    const trust: ServerTrust = { thumbprint: options.thumbprint, caPem: options.caPem }
    this.server = url.host
    this.#url = url.href
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.#agent = new VerifyingAgent(trust, this.#timeoutMs)
    this.#http = axios.create({
      httpsAgent: this.#agent,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: maxAnswerBytes,
      responseType: 'text',
      transformResponse: body => body,
      validateStatus: null,
    })
  }

  async send(call: SoapCall, options: SendOptions = {}): Promise<XmlElement> {
    options.signal?.throwIfAborted()
    const response = await this.#post(call, options)
    if (call.method === 'Login') this.#keepCookie(response)
    // A fault comes with status 500. Whatever else is no 200 was not answered by the vSphere service.
    if (response.status !== 200 && response.status !== 500) throw httpError(this.server, response.status)
    if (typeof response.data !== 'string') throw invalidAnswer(call.method, 'is not a text')
    return decodeAnswer(call.method, response.data)
  }

  /** Makes the next call one without a session. */
  forgetSession(): void {
    this.#cookie = undefined
  }

  close(): void {
    this.#agent.destroy()
  }

  async #post(call: SoapCall, { signal, extraTimeoutMs = 0 }: SendOptions): Promise<AxiosResponse<unknown>> {
    const data = encodeCall(call)
    try {
      return await this.#http.post(this.#url, data, {
        timeout: this.#timeoutMs + extraTimeoutMs,
        ...(signal !== undefined && { signal }),
        headers: {
          'content-type': 'text/xml; charset=utf-8',
          soapaction: `"urn:vim25/${this.apiVersion}"`,
          ...(this.#cookie !== undefined && { cookie: this.#cookie }),
        },
      })
    } catch (error) {
      signal?.throwIfAborted()
      throw transportError(this.server, call.method, error)
    }
  }

  /** Only of a login: a late answer to a call of the former session must not bring its cookie back. */
  #keepCookie(response: AxiosResponse<unknown>): void {
    const cookie = response.headers['set-cookie']?.find(line => line.startsWith(`${SESSION_COOKIE}=`))
    if (cookie !== undefined) this.#cookie = cookie.split(';')[0]
  }
}

function endpointUrl(options: ConnectOptions): URL {
  const text = 'url' in options ? options.url : `https://${bracketed(options.host)}:${options.port ?? 443}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    throw new VsphereError({
      fault: 'InvalidEndpoint',
      kind: 'invalid',
      message: 'The address of the server must be https://host[:port]/sdk and hold no credentials',
    })
  }
  if (url.pathname === '/') url.pathname = '/sdk'
  return url
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

function httpError(server: string, status: number): VsphereError {
  return new VsphereError({
    fault: `Http${status}`,
    kind: status > 500 ? 'unreachable' : 'invalid',
    message: `${server} answered with HTTP status ${status} instead of a vSphere answer`,
  })
}

/** Codes that Node and OpenSSL give to a certificate that does not hold. */
const CERTIFICATE_CODE = /CERT|SIGNATURE|CRL|^HOSTNAME_MISMATCH$/

/** Takes the code and nothing else out of a foreign error. */
function transportError(server: string, method: string, error: unknown): VsphereError {
  const inner = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (inner instanceof VsphereError) return inner
  const code = codeOf(inner) ?? codeOf(error) ?? 'Unreachable'
  if (/maxContentLength/.test(error instanceof Error ? error.message : '')) {
    return invalidAnswer(method, 'is longer than this client accepts')
  }
  const isCertificate = CERTIFICATE_CODE.test(code)
  return new VsphereError({
    fault: code,
    kind: isCertificate ? 'certificate' : 'unreachable',
    message: isCertificate
      ? `The certificate of ${server} is not trusted (${code})`
      : `No answer from ${server} to ${method} (${code})`,
  })
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
