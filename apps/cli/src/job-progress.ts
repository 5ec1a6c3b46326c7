import type { Progress } from '@sendense/contracts'
import { SingleBar } from 'cli-progress'
import { formatBytes, formatSeconds } from './format.ts'

/** Shows a job while it runs. */
export interface ProgressView {
  update(progress: Progress): void
  end(): void
}

/** `read 1.2 GiB of 4.0 GiB (logical 16 GiB) · new 300 MiB · stored 120 MiB · 210 MiB/s · ETA 12 s` */
export function progressLine({ bytes, bytesPerSecond, remainingSeconds }: Progress): string {
  return [
    `logical ${formatBytes(bytes.logicalBytes)}`,
    `changed ${formatBytes(bytes.changedBytes)}`,
    `read ${formatBytes(bytes.readBytes)}`,
    `new ${formatBytes(bytes.newBytes)}`,
    `stored ${formatBytes(bytes.storedBytes)}`,
    ...(bytesPerSecond === null ? [] : [`${formatBytes(bytesPerSecond)}/s`]),
    ...(remainingSeconds === null ? [] : [`ETA ${formatSeconds(remainingSeconds)}`]),
  ].join(' · ')
}

/** The step that runs now, for people. */
export function stepTitle({ steps, state }: Progress): string {
  return steps.find(step => step.state === 'running')?.title ?? state
}

/** A bar that is drawn over itself; for terminals. */
export function barView(stream: NodeJS.WritableStream): ProgressView {
  const bar = new SingleBar({
    format: '{step} [{bar}] {percentage}% · {line}',
    stream,
    hideCursor: true,
    clearOnComplete: false,
    barCompleteChar: '#',
    barIncompleteChar: '-',
    barsize: 24,
  })
  bar.start(100, 0, { step: 'waiting', line: '' })
  return {
    update: progress =>
      bar.update(progress.percent ?? 0, { step: stepTitle(progress), line: progressLine(progress) }),
    end: () => bar.stop(),
  }
}

/** One line for each new step and every few seconds in between; for pipes and logs. */
export function lineView(write: (line: string) => void, now: () => number = Date.now): ProgressView {
  const everyMs = 5000
  let lastStep = ''
  let lastAt = Number.NEGATIVE_INFINITY
  return {
    update: progress => {
      const step = stepTitle(progress)
      if (step === lastStep && now() - lastAt < everyMs) return
      lastStep = step
      lastAt = now()
      write(`${step}: ${progressLine(progress)}`)
    },
    end: () => {},
  }
}
