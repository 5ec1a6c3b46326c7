import { connectVsphere } from '../connect-vsphere.ts'
import { fetchThumbprint } from '../soap/certificate-pin.ts'
import type { VsphereSession } from '../types.ts'
import { type Script, type ScriptedServer, startScriptedServer, withLogin } from './scripted-server.ts'

/** A session on a server that answers as the script says, login and logout aside. Disposes of both. */
export async function connectScripted(script: Script): Promise<ScriptedSession> {
  const server = await startScriptedServer(withLogin(script))
  const { sha256 } = await fetchThumbprint('127.0.0.1', server.port)
  const session = await connectVsphere({ url: server.url, user: 'u', password: 'p', thumbprint: sha256 })
  return {
    server,
    session,
    methods: () => server.calls.map(call => call.method).slice(2),
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

export interface ScriptedSession extends AsyncDisposable {
  readonly server: ScriptedServer
  readonly session: VsphereSession
  /** Methods called since the login. */
  methods(): string[]
}
