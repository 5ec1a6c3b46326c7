import { readdir, readFile } from 'node:fs/promises'

/** A process as /proc shows it to whoever looks. */
export interface SeenProcess {
  readonly pid: number
  readonly parent: number
  /** Arguments separated by NUL. */
  readonly cmdline: string
}

/** All processes that run now and have a command line. */
export async function seenProcesses(): Promise<SeenProcess[]> {
  const numbers = (await readdir('/proc')).map(Number).filter(Number.isInteger)
  const seen = await Promise.all(numbers.map(seenProcess))
  return seen.filter(one => one !== undefined && one.cmdline !== '') as SeenProcess[]
}

/** Processes that were started with an argument that contains this text. */
export async function processesNaming(text: string): Promise<SeenProcess[]> {
  return (await seenProcesses()).filter(({ cmdline }) => cmdline.includes(text))
}

/** The processes with these numbers, and all that they started. */
export async function familyOf(pids: readonly number[]): Promise<SeenProcess[]> {
  const all = await seenProcesses()
  const family = new Set(pids)
  for (let before = 0; before !== family.size; ) {
    before = family.size
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid)
  }
  return all.filter(({ pid }) => family.has(pid))
}

async function seenProcess(pid: number): Promise<SeenProcess | undefined> {
  try {
    const [cmdline, stat] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readFile(`/proc/${pid}/stat`, 'utf8'),
    ])
    // The second field is the name in parentheses and may itself contain spaces and parentheses.
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { pid, parent: Number(parent), cmdline }
  } catch {
    // It ended while we looked.
    return undefined
  }
}
