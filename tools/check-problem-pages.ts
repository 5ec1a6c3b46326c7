import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PROBLEMS } from '../packages/contracts/src/problem.ts'
import { runCheck } from './run-check.ts'

const SECTIONS = ['What happened', 'Why', 'What to do']

/**
 * Holds the problem codes against their pages: every code has one, every page has a code, and each says what
 * happened, why, and what to do. `pages` maps a code to the text of its page.
 */
export function complaintsAbout(
  problems: Record<string, { status: number; title: string }>,
  pages: Map<string, string>,
): string[] {
  const missing = Object.keys(problems).filter(code => !pages.has(code))
  return [
    ...missing.map(code => `docs/problems/${code}.md is missing`),
    ...[...pages].flatMap(([code, page]) => {
      const problem = problems[code]
      const path = `docs/problems/${code}.md`
      return problem === undefined
        ? [`${path}: no such problem code`]
        : complaintsAboutPage(page, code, problem).map(complaint => `${path}: ${complaint}`)
    }),
  ]
}

function complaintsAboutPage(
  page: string,
  code: string,
  problem: { status: number; title: string },
): string[] {
  const [heading, ...rest] = page.trimEnd().split(/^## /m)
  const sections = rest.map(text => ({
    title: text.slice(0, text.indexOf('\n')),
    body: text.slice(text.indexOf('\n')),
  }))
  const expected = `# ${problem.title}\n\nCode \`${code}\`, status ${problem.status}.`
  const titles = sections.map(({ title }) => title)
  return [
    ...(heading?.trimEnd().startsWith(expected) ? [] : [`must begin with ${JSON.stringify(expected)}`]),
    ...(SECTIONS.every((title, index) => titles[index] === title)
      ? []
      : [`needs the sections ${SECTIONS.join(', ')}, in this order`]),
    ...sections.filter(({ body }) => body.trim() === '').map(({ title }) => `the section ${title} is empty`),
  ]
}

if (import.meta.main) {
  await runCheck('problem pages', () => {
    const folder = 'docs/problems'
    const files = readdirSync(folder).filter(name => name !== 'README.md')
    const pages = new Map(
      files.map(name => [name.replace(/\.md$/, ''), readFileSync(join(folder, name), 'utf8')]),
    )
    return {
      complaints: [
        ...complaintsAbout(PROBLEMS, pages),
        ...(Object.keys(PROBLEMS).length === 0 ? ['The contract has no problem codes'] : []),
      ],
      lookedAt: `${Object.keys(PROBLEMS).length} codes, ${pages.size} pages`,
    }
  })
}
