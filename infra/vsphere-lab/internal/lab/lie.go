package lab

import (
	"slices"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// Lie makes change tracking lose areas without a fault, as vSphere releases
// have done. The zero value is honest.
type Lie struct {
	// BeyondBytes hides what changed at or behind this offset (the defect of
	// disks grown past a bound). Zero hides nothing.
	BeyondBytes int64
	// DuringConsolidation hides what is written while a snapshot is removed.
	DuringConsolidation bool
}

// SetLie replaces the lie told until now; writes hidden before come to light.
func (l *Lab) SetLie(lie Lie) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
	clear(l.hidden)
}

// lieAbout removes from the areas what tracking pretends not to know.
func (l *Lab) lieAbout(id diskID, areas []extent.Extent) []extent.Extent {
	l.mu.Lock()
	defer l.mu.Unlock()
	const end = 1 << 61
	holes := slices.Clone(l.hidden[id])
	if l.lie.BeyondBytes > 0 {
		holes = append(holes, extent.Extent{Offset: l.lie.BeyondBytes, Length: end})
	}
	return extent.Subtract(areas, extent.Normalize(holes, trackingBlock, end))
}
