import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { VsphereError } from '../vsphere-error.ts'

/** Namespace of `xsi:type`, whatever prefix a server gives it. */
const XSI = 'http://www.w3.org/2001/XMLSchema-instance'
const TYPE = 'type'

/** A managed object: its type and its id, as in `<obj type="VirtualMachine">vm-64</obj>`. */
export interface MoRef {
  readonly type: string
  readonly value: string
}

/** A text that is no XML, not the XML that was promised, or that cannot be sent as XML. */
export class XmlError extends VsphereError {
  constructor(message: string) {
    super({ fault: 'InvalidXml', kind: 'invalid', message })
  }
}

/**
 * An element with its namespaces resolved. Readers coerce on demand and name what they want: `children()` is
 * always an array, a number is only ever a number, and nothing is guessed from the looks of a value.
 */
export class XmlElement {
  /** Name without prefix. */
  readonly name: string
  /** Local name of the `xsi:type` attribute: the real type of a value, fault or device. */
  readonly xsiType: string | undefined
  /** The attribute `type` in no namespace: the type of a managed object reference. */
  readonly type: string | undefined
  readonly text: string
  readonly elements: readonly XmlElement[]

  constructor(parts: {
    name: string
    xsiType?: string | undefined
    type?: string | undefined
    text: string
    elements: readonly XmlElement[]
  }) {
    this.name = parts.name
    this.xsiType = parts.xsiType
    this.type = parts.type
    this.text = parts.text
    this.elements = parts.elements
  }

  /** First element at a path such as `deviceInfo.label`. */
  child(path: string): XmlElement | undefined {
    let found: XmlElement | undefined = this
    for (const name of path.split('.')) found = found?.elements.find(element => element.name === name)
    return found
  }

  children(name: string): XmlElement[] {
    return this.elements.filter(element => element.name === name)
  }

  /** As `child`, for what a valid answer always has. */
  need(path: string): XmlElement {
    const found = this.child(path)
    if (found === undefined) throw new XmlError(`<${this.name}> has no ${path}`)
    return found
  }

  string(path: string): string | undefined {
    return this.child(path)?.text
  }

  number(path: string): number | undefined {
    return this.child(path)?.asNumber()
  }

  boolean(path: string): boolean | undefined {
    return this.child(path)?.asBoolean()
  }

  ref(path: string): MoRef | undefined {
    return this.child(path)?.asRef()
  }

  date(path: string): Date | undefined {
    const text = this.string(path)
    return text === undefined ? undefined : new Date(text)
  }

  asNumber(): number {
    const value = Number(this.text)
    if (this.text.trim() === '' || !Number.isFinite(value)) throw this.#not('a number')
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw this.#not('an exact number')
    return value
  }

  asBoolean(): boolean {
    if (this.text === 'true' || this.text === '1') return true
    if (this.text === 'false' || this.text === '0') return false
    throw this.#not('true or false')
  }

  asRef(): MoRef {
    if (this.type === undefined || this.text === '') throw this.#not('a managed object')
    return { type: this.type, value: this.text }
  }

  #not(wanted: string): XmlError {
    return new XmlError(`<${this.name}> holds ${JSON.stringify(this.text.slice(0, 80))}, not ${wanted}`)
  }
}

/**
 * Reads a document and returns its root. Document type definitions are refused, so that no entity but the five
 * of XML and character references can be expanded, and expansion never makes a text longer.
 */
export function parseXml(xml: string): XmlElement {
  if (/<!DOCTYPE/i.test(xml)) throw new XmlError('A document type definition is not accepted')
  // The parser closes open tags at the end by itself: an answer cut short would look like a shorter answer.
  if (XMLValidator.validate(xml) !== true) throw new XmlError('The answer is not well-formed XML')
  let nodes: Node[]
  try {
    nodes = parser.parse(xml) as Node[]
  } catch {
    throw new XmlError('The answer goes beyond the limits of the XML reader')
  }
  const root = nodes.map(node => toElement(node, NO_NAMESPACES)).find(element => element !== undefined)
  if (root === undefined) throw new XmlError('The answer is not XML')
  return root
}

/** One node of the parser's ordered form: `{ name: children, ':@': attributes }` or `{ '#text': text }`. */
type Node = Record<string, unknown>
type Namespaces = ReadonlyMap<string, string>
const NO_NAMESPACES: Namespaces = new Map()

const TEXT = '#text'
const CDATA = '#cdata'
const ATTRIBUTES = ':@'

/**
 * A snapshot tree is 32 deep, a chain of disk backings as well, each some levels below the envelope. The rest of
 * what the parser can do for us it must not: guess types, trim names, drop prefixes, expand entities.
 */
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  textNodeName: TEXT,
  cdataPropName: CDATA,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  processEntities: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
  maxNestedTags: 256,
  jPath: false,
})

function toElement(node: Node, outer: Namespaces): XmlElement | undefined {
  const tag = Object.keys(node).find(key => key !== ATTRIBUTES)
  if (tag === undefined || tag === TEXT || tag === CDATA) return undefined
  const attributes = (node[ATTRIBUTES] ?? {}) as Record<string, string>
  const namespaces = withDeclarations(outer, attributes)
  const content = node[tag] as Node[]
  const elements: XmlElement[] = []
  let text = ''
  for (const inner of content) {
    const element = toElement(inner, namespaces)
    if (element === undefined) text += textOf(inner)
    else elements.push(element)
  }
  return new XmlElement({
    name: localName(tag),
    ...typesOf(attributes, namespaces),
    text: elements.length > 0 ? text.trim() : text,
    elements,
  })
}

function withDeclarations(outer: Namespaces, attributes: Record<string, string>): Namespaces {
  let namespaces: Map<string, string> | undefined
  for (const [name, value] of Object.entries(attributes)) {
    if (!name.startsWith('xmlns:')) continue
    namespaces ??= new Map(outer)
    namespaces.set(name.slice('xmlns:'.length), decodeEntities(value))
  }
  return namespaces ?? outer
}

/** `type` belongs to references and `xsi:type` to values; the same local name, and not to be mixed up. */
function typesOf(attributes: Record<string, string>, namespaces: Namespaces) {
  let xsiType: string | undefined
  let type: string | undefined
  for (const [name, value] of Object.entries(attributes)) {
    if (name === TYPE) type = decodeEntities(value)
    else if (localName(name) === TYPE && namespaces.get(prefixOf(name)) === XSI) {
      xsiType = localName(decodeEntities(value).trim())
    }
  }
  return { xsiType, type }
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

function prefixOf(name: string): string {
  return name.slice(0, Math.max(0, name.indexOf(':')))
}

function textOf(node: Node): string {
  if (typeof node[TEXT] === 'string') return decodeEntities(node[TEXT])
  const literal = node[CDATA]
  return Array.isArray(literal) ? literal.map(part => String((part as Node)[TEXT] ?? '')).join('') : ''
}

const PREDEFINED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

function decodeEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return PREDEFINED[name] ?? whole
    const codePoint = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return codePoint <= 0x10ffff ? String.fromCodePoint(codePoint) : whole
  })
}
