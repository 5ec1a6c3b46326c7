import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Logger, writeFileAtomic } from '@sendense/platform'
import type { FirstPassword } from './auth.service.ts'

export interface FirstPasswordOptions {
  dataDir: string
  /** Standard output, or what stands for it. */
  terminal: { readonly isTTY?: boolean; write(text: string): unknown }
  log: Logger
}

/** Shows the first password on the terminal, if there is one, and in a file of the data directory otherwise. */
export function firstPassword({ dataDir, terminal, log }: FirstPasswordOptions): FirstPassword {
  const path = join(dataDir, 'initial-admin-password')
  return {
    async show(username, password) {
      if (terminal.isTTY) {
        const hint = 'It is shown only now and must be changed at the first login.'
        terminal.write(`\nFirst administrator: ${username}\nOne-time password:   ${password}\n${hint}\n\n`)
        return
      }
      await writeFileAtomic(path, `${password}\n`, { mode: 0o600 })
      log.info('The one-time password of the first administrator is in a file', { path })
    },
    forget: () => rm(path, { force: true }),
  }
}
