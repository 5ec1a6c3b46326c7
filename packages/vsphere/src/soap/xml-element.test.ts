import { describe, expect, it } from 'vitest'
import { parseXml, XmlError } from './xml-element.ts'
import { writeXml } from './xml-writer.ts'

describe('parseXml', () => {
  it('finds xsi:type under any prefix and keeps it apart from the type of a reference', () => {
    const root = parseXml(`<?xml version="1.0"?>
      <a xmlns:_XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance" xmlns:q="urn:other">
        <val _XMLSchema-instance:type="q:ManagedObjectReference" type="HostSystem">host-1</val>
        <state q:type="not this one">on</state>
      </a>`)
    expect(root.child('val')?.xsiType).toBe('ManagedObjectReference')
    expect(root.ref('val')).toEqual({ type: 'HostSystem', value: 'host-1' })
    expect(root.child('state')).toMatchObject({ xsiType: undefined, type: undefined })
  })

  it('resolves a prefix that an inner element declares anew', () => {
    const root = parseXml(`<a xmlns:x="urn:other"><b x:type="wrong">
      <c xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:type="Right"/></b></a>`)
    expect(root.child('b')?.xsiType).toBeUndefined()
    expect(root.child('b.c')?.xsiType).toBe('Right')
  })

  it('keeps brackets in a reference and every character of a text', () => {
    const root = parseXml(
      `<r><v type="ContainerView">session[52a-b]c</v><n> Büro [1] &amp; &lt;日本&gt; &#34;&#x1F600;&#xA;</n></r>`,
    )
    expect(root.ref('v')).toEqual({ type: 'ContainerView', value: 'session[52a-b]c' })
    expect(root.string('n')).toBe(' Büro [1] & <日本> "😀\n')
  })

  it('gives an array for one element, for many and for none', () => {
    const root = parseXml('<r><one>1</one><two>1</two><two>2</two></r>')
    expect(root.children('one').map(e => e.asNumber())).toEqual([1])
    expect(root.children('two').map(e => e.asNumber())).toEqual([1, 2])
    expect(root.children('none')).toEqual([])
  })

  it('never guesses: a name of digits stays a text, leading zeros and all', () => {
    const root = parseXml('<r><name>007</name><size>70368744177664</size><on>true</on></r>')
    expect(root.string('name')).toBe('007')
    expect(root.number('size')).toBe(70_368_744_177_664)
    expect(root.boolean('on')).toBe(true)
  })

  it('does not decode what is already plain', () => {
    expect(parseXml('<r><a>&amp;lt;</a><b><![CDATA[&lt;]]></b></r>')).toMatchObject({
      elements: [{ text: '&lt;' }, { text: '&lt;' }],
    })
  })

  it('refuses numbers that are none or would lose digits', () => {
    const root = parseXml('<r><a/><b>12x</b><c>9223372036854775807</c><d>yes</d></r>')
    expect(() => root.number('a')).toThrow(XmlError)
    expect(() => root.number('b')).toThrow(/"12x", not a number/)
    expect(() => root.number('c')).toThrow(/exact/)
    expect(() => root.boolean('d')).toThrow(/true or false/)
  })

  it('refuses a document type definition, so that entities cannot grow', () => {
    const bomb = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><r>&b;</r>'
    expect(() => parseXml(bomb)).toThrow(/document type definition/)
    expect(() => parseXml(bomb.toLowerCase())).toThrow(XmlError)
  })

  it('expands thousands of plain entities without a limit getting in the way', () => {
    const root = parseXml(`<r>${'<a>x &amp; y &lt;z&gt;</a>'.repeat(20_000)}</r>`)
    expect(root.children('a')).toHaveLength(20_000)
    expect(root.elements.at(-1)?.text).toBe('x & y <z>')
  })

  it.each(['', 'Bad Gateway', '<a><b></a>', '<a><b/>', '{"json":1}'])('refuses %j', text => {
    expect(() => parseXml(text)).toThrow(XmlError)
  })

  it('refuses nesting without end', () => {
    expect(() => parseXml('<a>'.repeat(5000) + '</a>'.repeat(5000))).toThrow(XmlError)
  })
})

describe('writeXml', () => {
  it('reads back as what was written', () => {
    const text = `<&>"' ]]> Büro 日本\t\n\r😀`
    expect(parseXml(writeXml('r', { a: text, list: ['x', 'y'], gone: undefined })).elements).toMatchObject([
      { name: 'a', text },
      { name: 'list', text: 'x' },
      { name: 'list', text: 'y' },
    ])
  })

  it('writes references, types and flags as vSphere wants them', () => {
    const fields = { obj: { type: 'VirtualMachine', value: 'vm-[1]' }, skip: false, n: 5 }
    expect(writeXml('spec', { $type: 'ObjectSpec', ...fields })).toBe(
      '<spec xsi:type="ObjectSpec"><obj type="VirtualMachine">vm-[1]</obj><skip>false</skip><n>5</n></spec>',
    )
  })

  it.each(['\u0000', 'a\u001bb', '\ud800'])('refuses %j, which XML cannot hold', text => {
    expect(() => writeXml('a', text)).toThrow(XmlError)
  })
})
