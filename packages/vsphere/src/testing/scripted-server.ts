import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { generate } from 'selfsigned'
import { parseXml, type XmlElement } from '../soap/xml-element.ts'

/** One call as the server saw it. */
export interface SeenCall {
  readonly method: string
  /** The element `<Method>` with `_this` and the arguments. */
  readonly body: XmlElement
  readonly target: string
  readonly cookie: string | undefined
  readonly action: string | undefined
}

/** What to answer: the inside of `<MethodResponse>`, or a whole HTTP answer. */
export type Answer =
  | string
  | { readonly status: number; readonly body: string | Buffer; readonly headers?: Record<string, string> }
  /** Cut the connection without an answer. */
  | 'hang up'

export type Script = (call: SeenCall) => Answer | Promise<Answer>

/** A real TLS server that answers SOAP calls as a test wants it, for what a simulator never does. */
export interface ScriptedServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly certificatePem: string
  readonly calls: SeenCall[]
}

const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

/** A fault answer; `detail` is the element inside `<detail>`. */
export function faultAnswer(
  type: string,
  { text = type, fields = '', element = `${type}Fault` } = {},
): Answer {
  const detail = `<${element} xmlns="urn:vim25" xsi:type="${type}">${fields}</${element}>`
  return { status: 500, body: envelope(fault(text, detail)) }
}

/** The answers that every connection begins with. Anything else falls to the script. */
export function withLogin(script: Script): Script {
  let sessions = 0
  return call => {
    if (call.method === 'RetrieveServiceContent') return SERVICE_CONTENT
    if (call.method === 'Logout') return ''
    if (call.method !== 'Login') return script(call)
    sessions++
    return {
      status: 200,
      headers: { 'set-cookie': `vmware_soap_session="session-${sessions}"; Path=/; HttpOnly` },
      body: envelope('<LoginResponse xmlns="urn:vim25"><returnval><key>k</key></returnval></LoginResponse>'),
    }
  }
}

/** A certificate for 127.0.0.1 that nobody has signed. */
export async function makeCertificate(): Promise<{ key: string; cert: string }> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'scripted' }], {
    keySize: 2048,
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  })
  return { key, cert }
}

export async function startScriptedServer(script: Script): Promise<ScriptedServer> {
  const pems = await makeCertificate()
  const calls: SeenCall[] = []
  const sockets = new Set<TLSSocket>()
  const server = https.createServer(pems, (request, response) => {
    respond(request, response).catch((error: unknown) => request.socket.destroy(error as Error))
  })
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const call = seenCall(Buffer.concat(chunks).toString('utf8'), request.headers)
    calls.push(call)
    const answer = await script(call)
    if (answer === 'hang up') return request.socket.destroy()
    const whole = typeof answer === 'string' ? success(call.method, answer) : answer
    const headers = { 'content-type': 'text/xml; charset=utf-8', ...whole.headers }
    return response.writeHead(whole.status, headers).end(whole.body)
  }
  server.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `https://127.0.0.1:${port}/sdk`,
    port,
    certificatePem: pems.cert,
    calls,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

function success(method: string, inner: string): Exclude<Answer, string> {
  return { status: 200, body: envelope(`<${method}Response xmlns="urn:vim25">${inner}</${method}Response>`) }
}

function envelope(inner: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ${XSI}><soapenv:Body>${inner}</soapenv:Body></soapenv:Envelope>`
}

function fault(text: string, detail: string): string {
  return `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>${text}</faultstring><detail>${detail}</detail></soapenv:Fault>`
}

function seenCall(xml: string, headers: { cookie?: string | undefined; soapaction?: unknown }): SeenCall {
  const body = parseXml(xml).need('Body').elements[0]
  if (body === undefined) throw new Error('An envelope without a call')
  const action = typeof headers.soapaction === 'string' ? headers.soapaction : undefined
  return { method: body.name, body, target: body.need('_this').text, cookie: headers.cookie, action }
}

const SERVICE_CONTENT = `<returnval>
  <rootFolder type="Folder">group-d1</rootFolder>
  <propertyCollector type="PropertyCollector">propertyCollector</propertyCollector>
  <viewManager type="ViewManager">ViewManager</viewManager>
  <about><name>Scripted</name><fullName>Scripted server</fullName><version>8.0.3</version><build>1</build>
    <apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion><instanceUuid>u-u-i-d</instanceUuid></about>
  <sessionManager type="SessionManager">SessionManager</sessionManager>
  <searchIndex type="SearchIndex">SearchIndex</searchIndex>
</returnval>`
