import type { Repository, RepositoryStorage } from '@sendense/contracts'
import { formatBytes, formatFields } from './format.ts'

/** A repository in words. */
export function repositoryText(one: Repository): string {
  const { limits } = one
  const rate = (bytes: number | null) => (bytes === null ? 'no limit' : `${formatBytes(bytes)}/s`)
  const lock = one.place.type === 's3' ? one.place.objectLock : undefined
  return formatFields([
    ['Id', one.id],
    ['Name', one.name],
    ['Type', one.type],
    ['Place', placeText(one)],
    ['Format id', one.formatId],
    ['Chunk size', formatBytes(one.chunkBytes)],
    ['State', stateText(one)],
    ['Rates', `read ${rate(limits.readBytesPerSecondMax)}, write ${rate(limits.writeBytesPerSecondMax)}`],
    ...(limits.quotaBytes === null ? [] : [['Quota', formatBytes(limits.quotaBytes)] as const]),
    ...(limits.reserveBytes === null ? [] : [['Reserve', formatBytes(limits.reserveBytes)] as const]),
    ...(lock === undefined ? [] : [['Object lock', `${lock.mode}, ${lock.days} days`] as const]),
  ])
}

/** Where a repository is, in one line. */
export function placeText({ place }: Repository): string {
  switch (place.type) {
    case 'local':
      return place.path
    case 'nfs':
      return `${place.server}:${place.exportPath}/${place.folder}`
    case 'smb':
      return `//${place.server}/${place.share}/${place.folder}`
    case 's3':
      return [place.endpoint, place.bucket, place.prefix].filter(Boolean).join('/')
    case 'azure':
      return `azure:${[place.account, place.container, place.prefix].filter(Boolean).join('/')}`
    case 'sftp':
      return `${place.username}@${place.host}:${place.path}`
    case 'rest':
      return place.url
  }
}

/** What it held when it was last measured. */
export function usedText(measured: RepositoryStorage | null): string {
  return measured === null ? '-' : formatBytes(measured.usedBytes)
}

/** Whether it is on, and short of space. */
export function stateText({ isEnabled, storage: measured }: Repository): string {
  if (!isEnabled) return 'off'
  return measured === null || measured.space === 'ok' ? 'on' : `on, ${measured.space}`
}
