import { z } from 'zod'
import { Instant } from './page.ts'
import { defineRoutes } from './route.ts'

export const Health = z
  .object({
    status: z
      .enum(['ok', 'degraded'])
      .meta({ description: '`degraded`: running, but a part named in `problems` fails' }),
    problems: z.array(z.string()).meta({ description: 'What is wrong; empty when ok' }),
    product: z.enum(['hub', 'node']).meta({ description: 'Which part of Sendense answers' }),
    version: z.string().meta({ description: 'Version of the program' }),
    startedAt: Instant.meta({ description: 'When the process started' }),
  })
  .meta({ id: 'Health' })
export type Health = z.output<typeof Health>

export const healthRoutes = defineRoutes({
  getHealth: {
    method: 'get',
    path: '/health',
    summary: 'Tell whether the service works',
    permission: 'public',
    response: Health,
  },
})
