import { EntitySchema } from 'typeorm'
import { longText, text } from './columns.ts'
import type { Db } from './db.ts'

interface SettingRow {
  name: string
  value: string
}

export const SettingsEntity = new EntitySchema<SettingRow>({
  name: 'Setting',
  tableName: 'settings',
  columns: { name: text(100, { primary: true }), value: longText() },
})

/** Few values that belong to the database as a whole, such as which key its secrets are sealed with. */
export class Settings {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  async get(name: string): Promise<string | undefined> {
    const row = await this.#db.read(manager => manager.findOneBy(SettingsEntity, { name }))
    return row?.value
  }

  async set(name: string, value: string): Promise<void> {
    await this.#db.write(manager => manager.upsert(SettingsEntity, { name, value }, ['name']))
  }
}
