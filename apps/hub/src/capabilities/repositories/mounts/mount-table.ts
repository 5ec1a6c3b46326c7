import { readFile } from 'node:fs/promises'

/** One line of the kernel's list of mounts. */
export interface MountEntry {
  readonly point: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** What is mounted at this folder itself; the topmost one when there are several. */
export async function mountedAt(point: string): Promise<MountEntry | undefined> {
  const all = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'))
  return all.findLast(entry => entry.point === point)
}

/** Reads the lines as proc(5) describes them: fields up to a dash, then type, source and options of the file system. */
export function parseMountInfo(text: string): MountEntry[] {
  return text.split('\n').flatMap(line => {
    const [before = '', after] = line.split(' - ')
    const [, , , , point, options] = before.split(' ')
    const [type, source] = after?.split(' ') ?? []
    if (point === undefined || options === undefined || type === undefined || source === undefined) return []
    return [{ point: unescaped(point), type, source: unescaped(source), options: options.split(',') }]
  })
}

/** Spaces, tabs, line ends and backslashes are written as octal numbers. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
