/** What a check found. */
export interface CheckResult {
  /** One line each; none means that the check holds. */
  complaints: string[]
  /** What the check has seen, e.g. `57 packages`: a check that looked at nothing must fail by itself. */
  lookedAt: string
}

/** Runs a check as a program: says what is wrong or what was looked at, and sets the exit status. */
export async function runCheck(name: string, check: () => Promise<CheckResult> | CheckResult): Promise<void> {
  const { complaints, lookedAt } = await check()
  for (const complaint of complaints) console.error(complaint)
  const verdict = complaints.length === 0 ? 'good' : `${complaints.length} complaints`
  console.log(`${name}: ${verdict} (${lookedAt})`)
  if (complaints.length > 0) process.exitCode = 1
}
