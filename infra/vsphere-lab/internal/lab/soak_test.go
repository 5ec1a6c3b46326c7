package lab_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

// soak plays a guest and a backup product at random and keeps beside them, in
// memory, what every disk and every answer must be.
type soak struct {
	*machine
	random    *rand.Rand
	current   []byte
	written   map[int]bool // Blocks written since the last point.
	points    []soakPoint
	snapshots map[types.ManagedObjectReference]soakSnapshot
	queries   int
}

// soakPoint is a moment with a change id.
type soakPoint struct {
	id      string
	written map[int]bool // Between the point before and this one.
}

type soakSnapshot struct {
	content []byte
	point   int
}

func TestTrackingAndSnapshotChainsMatchAModel(t *testing.T) {
	for seed := range int64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			o := oneDisk(8 * mib)
			o.maxAreas = 4
			s := &soak{
				machine: newMachine(t, o), random: rand.New(rand.NewSource(seed)), current: make([]byte, 8*mib),
				written: map[int]bool{}, snapshots: map[types.ManagedObjectReference]soakSnapshot{},
			}
			for step := range 120 {
				s.step(step)
				s.check(step)
			}
			if s.queries < 50 {
				t.Errorf("only %d queries were compared", s.queries)
			}
		})
	}
}

func (s *soak) step(step int) {
	switch choice := s.random.Float64(); {
	case choice < 0.5:
		s.writeSomething()
	case choice < 0.8 || len(s.snapshots) == 0:
		s.takeSnapshot(step)
	default:
		ref := s.anySnapshot()
		delete(s.snapshots, ref)
		s.remove(ref)
	}
}

func (s *soak) writeSomething() {
	offset := s.random.Intn(len(s.current))
	lengths := []int{1, 100, 5000, 200_000}
	data := make([]byte, min(lengths[s.random.Intn(len(lengths))], len(s.current)-offset))
	if s.random.Float64() < 0.8 {
		s.random.Read(data)
	}
	copy(s.current[offset:], data)
	for b := offset / block; b <= (offset+len(data)-1)/block; b++ {
		s.written[b] = true
	}
	s.write(int64(offset), string(data))
}

func (s *soak) takeSnapshot(step int) {
	ref := s.snapshot(fmt.Sprintf("s%d", step))
	s.points = append(s.points, soakPoint{id: s.snapshotState(ref).ChangeID, written: s.written})
	s.written = map[int]bool{}
	now := len(s.points) - 1
	s.snapshots[ref] = soakSnapshot{bytes.Clone(s.current), now}
	for range 3 {
		before := max(0, now-30) + s.random.Intn(min(now+1, 31))
		s.compareAreas(ref, before, now)
	}
}

func (s *soak) compareAreas(ref types.ManagedObjectReference, before, now int) {
	got := map[int]bool{}
	for _, area := range s.areas(ref, s.points[before].id) {
		for b := area[0] / block; b < (area[0]+area[1])/block; b++ {
			got[int(b)] = true
		}
	}
	want := map[int]bool{}
	for _, point := range s.points[before+1 : now+1] {
		for b := range point.written {
			want[b] = true
		}
	}
	s.queries++
	if !reflect.DeepEqual(got, want) {
		s.t.Fatalf("changes from point %d to %d: got %v, want %v", before, now, got, want)
	}
}

// anySnapshot chooses in an order that does not depend on Go's maps.
func (s *soak) anySnapshot() types.ManagedObjectReference {
	states := s.state().Snapshots
	ref := states[s.random.Intn(len(states))].Ref
	return types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: ref}
}

func (s *soak) check(step int) {
	s.t.Helper()
	if !bytes.Equal(s.bytes(""), s.current) {
		s.t.Fatalf("step %d: the current disk differs", step)
	}
	if got := len(s.state().Snapshots); got != len(s.snapshots) {
		s.t.Fatalf("step %d: %d snapshots, want %d", step, got, len(s.snapshots))
	}
	for ref, want := range s.snapshots {
		if !bytes.Equal(s.bytes(ref.Value), want.content) {
			s.t.Fatalf("step %d: snapshot %s differs", step, ref.Value)
		}
		if got := s.snapshotState(ref).ChangeID; got != s.points[want.point].id {
			s.t.Fatalf("step %d: snapshot %s has the change id %s", step, ref.Value, got)
		}
	}
}
