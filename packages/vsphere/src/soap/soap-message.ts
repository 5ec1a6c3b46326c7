import { VsphereError } from '../vsphere-error.ts'
import { faultOf } from './fault.ts'
import { type MoRef, parseXml, type XmlElement, XmlError } from './xml-element.ts'
import { writeFields, writeXml, type XmlFields } from './xml-writer.ts'

/** One call of a method on a managed object. */
export interface SoapCall {
  readonly target: MoRef
  readonly method: string
  readonly args?: XmlFields
}

/** Writes the envelope of a call. */
export function encodeCall({ target, method, args = {} }: SoapCall): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?>' +
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"' +
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">' +
    `<soapenv:Body><${method} xmlns="urn:vim25">${writeXml('_this', target)}${writeFields(args)}</${method}>` +
    '</soapenv:Body></soapenv:Envelope>'
  )
}

/**
 * Reads the answer to a call: the element `<MethodResponse>`, whose `returnval` may be there once, often or not
 * at all. Throws the fault if it is one.
 */
export function decodeAnswer(method: string, xml: string): XmlElement {
  const body = readXml(method, xml).child('Body')
  const fault = body?.child('Fault')
  if (fault !== undefined) throw faultOf(method, fault)
  const response = body?.child(`${method}Response`)
  if (response === undefined) throw invalidAnswer(method, 'holds neither a response nor a fault')
  return response
}

/** The server answered, but not as the protocol demands. */
export function invalidAnswer(method: string, what: string, cause?: unknown): VsphereError {
  return new VsphereError({
    fault: 'InvalidAnswer',
    kind: 'invalid',
    message: `The answer to ${method} ${what}`,
    cause,
  })
}

function readXml(method: string, xml: string): XmlElement {
  try {
    return parseXml(xml)
  } catch (error) {
    if (error instanceof XmlError) throw invalidAnswer(method, `cannot be read: ${error.message}`, error)
    throw error
  }
}
