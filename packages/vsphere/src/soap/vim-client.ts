import type { ConnectOptions, VsphereAbout } from '../types.ts'
import { VsphereError } from '../vsphere-error.ts'
import { localizedFaultOf } from './fault.ts'
import { invalidAnswer, type SoapCall } from './soap-message.ts'
import { type SendOptions, SoapTransport } from './soap-transport.ts'
import type { MoRef, XmlElement } from './xml-element.ts'

/**
 * The call used something that lived in a session which is gone (a view, a token, a collector). There is a new
 * session by now, and whoever made those things can make them again.
 */
export class SessionRenewed extends VsphereError {
  constructor() {
    super({
      fault: 'SessionRenewed',
      kind: 'unreachable',
      message: 'The vSphere session ended and took with it what the call was working on',
    })
  }
}

/** What a call may ask for. */
export interface VimCallOptions extends SendOptions {
  /** The call names something that dies with the session: never repeat it in a new one, throw `SessionRenewed`. */
  readonly isSessionBound?: boolean
}

const SERVICE_INSTANCE: MoRef = { type: 'ServiceInstance', value: 'ServiceInstance' }
const LOGOUT_TIMEOUT_MS = 10_000

/**
 * Calls methods within a session and renews it when the server has dropped it: once per loss, however many
 * calls notice it at the same time, and never again after the server refused the credentials.
 */
export class VimClient {
  readonly #transport: SoapTransport
  readonly #credentials: { readonly userName: string; readonly password: string }
  readonly #content: XmlElement
  readonly about: VsphereAbout
  /** Counts the logins, so that a call knows whether its session is still the present one. */
  #generation = 0
  #login: Promise<void> | undefined
  #refusal: VsphereError | undefined
  #isClosed = false

  private constructor(transport: SoapTransport, options: ConnectOptions, content: XmlElement) {
    this.#transport = transport
    this.#credentials = { userName: options.user, password: options.password }
    this.#content = content
    this.about = decodeAbout(content)
    transport.apiVersion = this.about.apiVersion
  }

  static async connect(options: ConnectOptions): Promise<VimClient> {
    const transport = new SoapTransport(options)
    try {
      const signal = options.signal
      const call = { target: SERVICE_INSTANCE, method: 'RetrieveServiceContent' }
      const content = (await transport.send(call, { signal })).child('returnval')
      if (content === undefined) throw invalidAnswer(call.method, 'is empty')
      const client = new VimClient(transport, options, content)
      await client.#renew(0, signal)
      return client
    } catch (error) {
      transport.close()
      throw error
    }
  }

  /** One of the managers that the service content names, such as `propertyCollector`. */
  service(name: string): MoRef {
    const ref = this.#content.ref(name)
    if (ref === undefined) throw invalidAnswer('RetrieveServiceContent', `names no ${name}`)
    return ref
  }

  /** Calls a method; answers the response element, whose `returnval` holds the result. */
  async call(call: SoapCall, options: VimCallOptions = {}): Promise<XmlElement> {
    if (this.#login !== undefined) await unlessAborted(this.#login, options.signal)
    const generation = this.#generation
    try {
      return await this.#send(call, options)
    } catch (error) {
      if (!isNotAuthenticated(error)) throw error
    }
    await this.#renew(generation, options.signal)
    if (options.isSessionBound) throw new SessionRenewed()
    return this.#send(call, options)
  }

  /** Logs out as well as it can and closes all connections. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      const signal = AbortSignal.timeout(LOGOUT_TIMEOUT_MS)
      await this.#transport.send({ target: this.service('sessionManager'), method: 'Logout' }, { signal })
    } catch {
      // The session ends on its own after its idle time; nobody can do more about it here.
    } finally {
      this.#transport.close()
    }
  }

  async #send(call: SoapCall, options: SendOptions): Promise<XmlElement> {
    if (this.#isClosed) {
      throw new VsphereError({ fault: 'SessionClosed', kind: 'invalid', message: 'The session was closed' })
    }
    if (this.#refusal !== undefined) throw this.#refusal
    const response = await this.#transport.send(call, options)
    throwIfSessionIsMissing(call.method, response)
    return response
  }

  /** Logs in unless that has happened since the given generation, or is happening. */
  async #renew(generation: number, signal?: AbortSignal): Promise<void> {
    if (this.#refusal !== undefined) throw this.#refusal
    if (generation !== this.#generation) return
    this.#login ??= this.#logIn().finally(() => {
      this.#login = undefined
    })
    await unlessAborted(this.#login, signal)
  }

  async #logIn(): Promise<void> {
    this.#transport.forgetSession()
    const call = { target: this.service('sessionManager'), method: 'Login', args: this.#credentials }
    try {
      await this.#transport.send(call)
      this.#generation++
    } catch (error) {
      if (error instanceof VsphereError && (error.kind === 'credentials' || error.kind === 'permission')) {
        this.#refusal = error
      }
      throw error
    }
  }
}

/** Waits for a promise that is shared with others, without taking it away from them. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function isNotAuthenticated(error: unknown): boolean {
  return error instanceof VsphereError && error.fault === 'NotAuthenticated'
}

/**
 * A property collector without a session does not fail: it answers with objects whose every property is missing
 * for the reason `NotAuthenticated`. That must not pass for objects without properties.
 */
function throwIfSessionIsMissing(method: string, response: XmlElement): void {
  for (const returned of response.children('returnval')) {
    for (const missing of returned.children('objects').flatMap(object => object.children('missingSet'))) {
      const fault = missing.child('fault')
      if (fault?.child('fault')?.xsiType === 'NotAuthenticated') throw localizedFaultOf(method, fault)
    }
  }
}

function decodeAbout(content: XmlElement): VsphereAbout {
  const text = (name: string) => content.string(`about.${name}`) ?? ''
  return {
    instanceUuid: content.string('about.instanceUuid'),
    apiType: text('apiType'),
    apiVersion: text('apiVersion'),
    version: text('version'),
    build: text('build'),
    name: text('name'),
    fullName: text('fullName'),
  }
}
