import { VsphereError } from '../vsphere-error.ts'
import type { XmlElement } from './xml-element.ts'

/**
 * Translates a SOAP fault. Its type is the `xsi:type` of the element in `detail`: the name of that element is
 * chosen freely (`InvalidPropertyFaultFault` for an `InvalidProperty` has been seen).
 */
export function faultOf(method: string, soapFault: XmlElement): VsphereError {
  const detail = soapFault.child('detail')?.elements[0]
  return toError(method, detail, soapFault.string('faultstring'))
}

/** Translates a `LocalizedMethodFault`, as in the error of a task or for a property that is kept back. */
export function localizedFaultOf(method: string, localized: XmlElement): VsphereError {
  return toError(method, localized.child('fault'), localized.string('localizedMessage'))
}

function toError(method: string, detail: XmlElement | undefined, text: string | undefined): VsphereError {
  const fault = detail === undefined ? 'UnknownFault' : (detail.xsiType ?? detail.name.replace(/Fault$/, ''))
  const privilegeId = detail?.string('privilegeId')
  const words = text?.trim() ?? ''
  const reason = words === '' || words === fault ? '' : `: ${words}`
  const privilege = privilegeId === undefined ? '' : ` (missing privilege ${privilegeId})`
  return new VsphereError({
    fault,
    message: `${method} failed with ${fault}${reason}${privilege}`,
    privilegeId,
    // InvalidArgument and InvalidProperty say the same by different fields.
    invalidProperty: detail?.string(fault === 'InvalidProperty' ? 'name' : 'invalidProperty'),
    file: detail?.string('file'),
    object: detail?.string('obj') ?? detail?.string('object'),
  })
}
