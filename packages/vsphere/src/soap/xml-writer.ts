import { type MoRef, XmlError } from './xml-element.ts'

/**
 * What a request is made of. Fields are written in the order in which they stand, and the schema of vSphere
 * demands its own order. `$type` becomes `xsi:type`; undefined fields are left out.
 */
export type XmlValue = string | number | boolean | MoRef | XmlFields | readonly XmlValue[] | undefined

export interface XmlFields {
  readonly $type?: string
  readonly [field: string]: XmlValue
}

/** Writes `<name>…</name>`, once per item of an array. Assumes that the prefix `xsi` is declared. */
export function writeXml(name: string, value: XmlValue): string {
  if (value === undefined) return ''
  if (Array.isArray(value)) return value.map(item => writeXml(name, item)).join('')
  if (typeof value !== 'object') return `<${name}>${escapeXml(String(value))}</${name}>`
  if (isMoRef(value)) return `<${name} type="${escapeXml(value.type)}">${escapeXml(value.value)}</${name}>`
  const { $type, ...fields } = value as XmlFields
  const type = $type === undefined ? '' : ` xsi:type="${escapeXml($type)}"`
  return `<${name}${type}>${writeFields(fields)}</${name}>`
}

/** Writes the fields of an object, one after the other. */
export function writeFields(fields: XmlFields): string {
  return Object.entries(fields)
    .map(([name, value]) => writeXml(name, value))
    .join('')
}

function isMoRef(value: object): value is MoRef {
  return 'type' in value && 'value' in value && Object.keys(value).length === 2
}

/** Everything but tab, line feed and the printable characters that XML 1.0 allows (section 2.2). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/

function escapeXml(text: string): string {
  if (FORBIDDEN.test(text) || !text.isWellFormed()) {
    throw new XmlError('A text holds a character that cannot be sent in XML')
  }
  return text.replace(/[<>&"'\r]/g, character => `&#${character.charCodeAt(0)};`)
}
