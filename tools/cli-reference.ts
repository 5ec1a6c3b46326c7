import { buildProgram } from '../apps/cli/src/build-program.ts'
import { EXIT_CODES } from '../apps/cli/src/cli-error.ts'

type Command = ReturnType<typeof buildProgram>

/** The page of the command line, made of the commands themselves. */
export function cliReference(version: string): string {
  const unused = async (): Promise<never> => {
    throw new Error('Describing commands runs none of them')
  }
  const program = buildProgram(
    {
      client: unused,
      signal: new AbortController().signal,
      terminal: {
        print: () => {},
        remark: () => {},
        isInteractive: false,
        ask: unused,
        askSecret: unused,
        readAll: unused,
      },
    },
    version,
  )
  return [
    '# Command line reference\n',
    'Made from the commands by `make generate`. What the program is like stands in [apps/cli/README.md](../apps/cli/README.md).\n',
    `Every command takes \`--json\`. Exit statuses: 0 done${Object.entries(EXIT_CODES)
      .map(([name, code]) => `, ${code} ${name.replaceAll('-', ' ')}`)
      .join('')}.\n`,
    ...leavesOf(program, []).map(sectionOf),
  ].join('\n')
}

interface Leaf {
  path: readonly string[]
  command: Command
}

function leavesOf(command: Command, path: readonly string[]): Leaf[] {
  const own = [...path, command.name()]
  if (command.commands.length === 0) return [{ path: own, command }]
  return command.commands.flatMap(child => leavesOf(child as Command, own))
}

function sectionOf({ path, command }: Leaf): string {
  const words = command.registeredArguments.map(argument => `<${argument.name()}>`)
  const options = command.options.map(option => `- \`${option.flags}\`: ${textOf(option)}`)
  return [
    `## ${[...path, ...words].join(' ')}\n`,
    `${sentence(command.description())}\n`,
    ...(options.length > 0 ? [`${options.join('\n')}\n`] : []),
  ].join('\n')
}

function textOf(option: Command['options'][number]): string {
  const { description, defaultValue, mandatory, argChoices } = option
  const notes = [
    ...(mandatory ? ['required'] : []),
    ...(argChoices ? [`one of ${argChoices.join(', ')}`] : []),
    ...(defaultValue === undefined || option.negate ? [] : [`default ${String(defaultValue)}`]),
  ]
  return notes.length === 0 ? description : `${description} (${notes.join('; ')})`
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`
}
