// Package extent computes with ranges of sparse disk files: which parts hold
// data, which parts differ between two files, and how to copy only those.
package extent

import "sort"

// Extent is a range of bytes of a disk.
type Extent struct{ Offset, Length int64 }

// End is the first byte behind the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Normalize widens the extents to whole blocks, clips them to the disk's size,
// sorts them and joins those that touch. The input stays as it is.
func Normalize(in []Extent, block, size int64) []Extent {
	aligned := make([]Extent, 0, len(in))
	for _, e := range in {
		if a := align(e, block, size); a.Length > 0 {
			aligned = append(aligned, a)
		}
	}
	sort.Slice(aligned, func(i, j int) bool { return aligned[i].Offset < aligned[j].Offset })
	return join(aligned)
}

func align(e Extent, block, size int64) Extent {
	start := e.Offset / block * block
	end := min((e.End()+block-1)/block*block, size)
	return Extent{start, end - start}
}

// join merges neighbours of a sorted list in place.
func join(sorted []Extent) []Extent {
	out := sorted[:0]
	for _, e := range sorted {
		last := len(out) - 1
		if last >= 0 && e.Offset <= out[last].End() {
			out[last].Length = max(out[last].End(), e.End()) - out[last].Offset
			continue
		}
		out = append(out, e)
	}
	return out
}

// From returns the part of the (normalized) extents that lies at or behind the
// offset.
func From(in []Extent, offset int64) []Extent {
	first := sort.Search(len(in), func(i int) bool { return in[i].End() > offset })
	out := append([]Extent(nil), in[first:]...)
	if len(out) > 0 && out[0].Offset < offset {
		out[0] = Extent{offset, out[0].End() - offset}
	}
	return out
}

// Subtract removes every part of the normalized extents that the normalized
// holes cover.
func Subtract(in, holes []Extent) []Extent {
	var out []Extent
	for _, e := range in {
		for _, h := range holes {
			if h.End() <= e.Offset || h.Offset >= e.End() {
				continue
			}
			if h.Offset > e.Offset {
				out = append(out, Extent{e.Offset, h.Offset - e.Offset})
			}
			e = Extent{h.End(), max(0, e.End()-h.End())}
			if e.Length == 0 {
				break
			}
		}
		if e.Length > 0 {
			out = append(out, e)
		}
	}
	return out
}
