package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

const (
	// trackingBlock is the granularity of changed areas (measured on ESXi 8).
	trackingBlock = 64 << 10
	// keptPoints is how many snapshots back a change id stays valid.
	keptPoints = 32
	// writesBeforeMerge bounds the list of writes that are kept one by one.
	writesBeforeMerge = 4096
)

type diskID struct {
	vm  string
	key int32
}

// tracking is the state of changed block tracking for one virtual disk: a
// frozen copy for each point at which a snapshot was taken, and what was
// written between the points. Frozen copies catch writers that bypass the lab
// (a restore through VDDK); the log catches writes of equal bytes.
type tracking struct {
	session  string // The part of a change id before the slash; changes with each reset.
	diskUUID string
	last     int                     // The latest point.
	points   map[int]string          // Point -> frozen file.
	writes   map[int][]extent.Extent // Point -> written between the point before and this one.
	pending  []extent.Extent         // Written since the last point.
	compared map[[2]int][]extent.Extent
}

func newTracking(diskUUID string) *tracking {
	return &tracking{
		session:  newUUID(),
		diskUUID: diskUUID,
		points:   map[int]string{},
		writes:   map[int][]extent.Extent{},
		compared: map[[2]int][]extent.Extent{},
	}
}

// trackingOf returns the state of a disk and makes one for a new disk. A disk
// that took over the key of a removed one is a new disk.
func (l *Lab) trackingOf(vm *simulator.VirtualMachine, disk *types.VirtualDisk) *tracking {
	id := diskID{vm.Self.Value, disk.Key}
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.tracked[id]
	if state == nil || state.diskUUID != backingOf(disk).Uuid {
		state.removeFiles()
		state = newTracking(backingOf(disk).Uuid)
		l.tracked[id] = state
	}
	return state
}

// addPoint freezes the content of file under a new change id. The file must
// not be written any more: the point is a second name for it.
func (t *tracking) addPoint(dir string, id diskID, file string) (changeID string, err error) {
	next := t.last + 1
	point := filepath.Join(dir, fmt.Sprintf("%s-%d-%d.raw", id.vm, id.key, next))
	if err := os.Link(file, point); err != nil {
		if err = extent.Clone(file, point); err != nil {
			return "", err
		}
	}
	t.last, t.points[next], t.writes[next], t.pending = next, point, t.pending, nil
	t.expire(next - keptPoints)
	return fmt.Sprintf("%s/%d", t.session, next), nil
}

func (t *tracking) expire(point int) {
	if file, ok := t.points[point]; ok {
		_ = os.Remove(file)
		delete(t.points, point)
		delete(t.writes, point)
	}
	for pair := range t.compared {
		if pair[0] <= point {
			delete(t.compared, pair)
		}
	}
}

func (t *tracking) recordWrite(e extent.Extent) {
	t.pending = append(t.pending, e)
	if len(t.pending) > writesBeforeMerge {
		t.pending = extent.Normalize(t.pending, trackingBlock, 1<<62)
	}
}

// writtenBetween lists the logged writes after point from, up to point upto;
// a point that is not there yet stands for now.
func (t *tracking) writtenBetween(from, upto int) (out []extent.Extent) {
	for point, writes := range t.writes {
		if point > from && point <= upto {
			out = append(out, writes...)
		}
	}
	if upto > t.last {
		out = append(out, t.pending...)
	}
	return out
}

var (
	errMalformed = errors.New("not a change id")
	errUnknownID = errors.New("change id of another session, or too old")
)

// areasSince answers for one change id; upto and file say which content is
// asked about.
func (t *tracking) areasSince(changeID string, upto int, file string, size int64) ([]extent.Extent, error) {
	if changeID == "*" {
		return extent.Allocated(file, trackingBlock, size)
	}
	session, from, ok := splitChangeID(changeID)
	if !ok {
		return nil, errMalformed
	}
	if session != t.session || from > upto || t.points[from] == "" {
		return nil, errUnknownID
	}
	return t.changedBetween(from, upto, file, size)
}

// changedBetween compares point from with a file that is the content at point
// upto. Frozen pairs are compared once: a client asks page by page.
func (t *tracking) changedBetween(from, upto int, file string, size int64) ([]extent.Extent, error) {
	pair := [2]int{from, upto}
	if known, ok := t.compared[pair]; ok && upto <= t.last {
		return known, nil
	}
	changed, err := extent.Changed(t.points[from], file, trackingBlock, size)
	if err != nil {
		return nil, err
	}
	all := extent.Normalize(append(changed, t.writtenBetween(from, upto)...), trackingBlock, size)
	if upto <= t.last {
		t.compared[pair] = all
	}
	return all, nil
}

func (t *tracking) removeFiles() {
	if t == nil {
		return
	}
	for _, file := range t.points {
		_ = os.Remove(file)
	}
}

// splitChangeID takes "52 de .. 63/7" apart.
func splitChangeID(id string) (session string, point int, ok bool) {
	slash := strings.LastIndexByte(id, '/')
	if slash < 0 {
		return "", 0, false
	}
	point, err := strconv.Atoi(id[slash+1:])
	return id[:slash], point, err == nil
}

// knownTracking is the state of a disk, or nil if there never was any.
func (l *Lab) knownTracking(vm *simulator.VirtualMachine, disk *types.VirtualDisk) *tracking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tracked[diskID{vm.Self.Value, disk.Key}]
}

// ResetTracking starts new change tracking sessions for all disks of a VM:
// every change id handed out before is refused from now on.
func (l *Lab) ResetTracking(vmRef string) error {
	return l.withVM(vmRef, func(_ *simulator.Context, vm *simulator.VirtualMachine) error {
		l.resetTracking(vm)
		return nil
	})
}

func (l *Lab) resetTracking(vm *simulator.VirtualMachine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, state := range l.tracked {
		if id.vm == vm.Self.Value {
			state.removeFiles()
			delete(l.tracked, id)
		}
	}
}

// isTracked says whether snapshots of the VM get change ids.
func (l *Lab) isTracked(vm *simulator.VirtualMachine) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return trackingEnabled(vm) && !l.asleep[vm.Self.Value]
}

func trackingEnabled(vm *simulator.VirtualMachine) bool {
	enabled := vm.Config.ChangeTrackingEnabled
	return enabled != nil && *enabled
}

// onReconfigure sees ReconfigVM before it happens. Tracking that is switched
// off or on starts anew; switched on under an existing snapshot it stays
// asleep until the last snapshot is gone.
func (l *Lab) onReconfigure(vm *simulator.VirtualMachine, enable *bool) {
	if enable == nil || vm.Config == nil || trackingEnabled(vm) == *enable {
		return
	}
	l.resetTracking(vm)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep[vm.Self.Value] = *enable && vm.Snapshot != nil && len(vm.Snapshot.RootSnapshotList) > 0
}

// wakeTracking lets tracking begin that was switched on under a snapshot.
func (l *Lab) wakeTracking(vm *simulator.VirtualMachine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asleep, vm.Self.Value)
}
