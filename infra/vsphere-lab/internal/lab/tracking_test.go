package lab_test

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

func TestAStarAsksForAllocatedAreas(t *testing.T) {
	m := newMachine(t, oneDisk(64*mib))
	m.write(0, "A")
	m.write(10*mib, string(make([]byte, 100*kib)))
	m.write(63*mib, "C")
	m.expectAreas("*", m.areas(m.snapshot("s"), "*"), [2]int64{0, block}, [2]int64{10 * mib, 2 * block}, [2]int64{63 * mib, block})
}

func TestChangesSinceASnapshotArePagedAndComplete(t *testing.T) {
	o := oneDisk(64 * mib)
	o.maxAreas = 2
	m := newMachine(t, o)
	first := m.snapshotState(m.snapshot("first")).ChangeID
	m.write(5*mib, "D")
	m.write(20*mib-5, "0123456789")
	m.write(30*mib, string(make([]byte, mib)))
	m.write(40*mib, "H")
	m.write(50*mib, "I")
	got := m.areas(m.snapshot("second"), first)
	m.expectAreas("since first", got, [2]int64{5 * mib, block}, [2]int64{20*mib - block, 2 * block},
		[2]int64{30 * mib, mib}, [2]int64{40 * mib, block}, [2]int64{50 * mib, block})
}

func TestChangeIDsSurviveTheRemovalOfTheirSnapshot(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	first := m.snapshot("first")
	id := m.snapshotState(first).ChangeID
	m.write(mib, "x")
	m.remove(first)
	second := m.snapshot("second")
	m.expectAreas("since a removed snapshot", m.areas(second, id), [2]int64{mib, block})
	m.expectAreas("since itself", m.areas(second, m.snapshotState(second).ChangeID))
}

func TestARewriteOfEqualBytesCountsAsAChange(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	m.write(mib, "same")
	id := m.snapshotState(m.snapshot("first")).ChangeID
	m.write(mib, "same")
	if err := m.server.Touch(m.disk(), extent.Extent{Offset: 7*mib + 1, Length: 10}); err != nil {
		t.Fatal(err)
	}
	m.expectAreas("rewrites", m.areas(m.snapshot("second"), id), [2]int64{mib, block}, [2]int64{7 * mib, block})
}

func TestADiscardIsAChangeAndLeavesAHole(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	m.write(mib, "gone")
	id := m.snapshotState(m.snapshot("first")).ChangeID
	if err := m.server.Discard(m.disk(), extent.Extent{Offset: mib, Length: block}); err != nil {
		t.Fatal(err)
	}
	second := m.snapshot("second")
	m.expectAreas("since first", m.areas(second, id), [2]int64{mib, block})
	m.expectAreas("allocated", m.areas(second, "*"))
}

func TestQueriesThatTrackingCannotAnswerFault(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	s := m.snapshot("s")
	id := m.snapshotState(s).ChangeID
	ask := func(snapshot *types.ManagedObjectReference, id string, start int64) error {
		_, err := m.query(snapshot, id, start)
		return err
	}
	m.expectFault("malformed change id", ask(&s, "nonsense", 0), "InvalidArgument")
	m.expectFault("foreign change id", ask(&s, "52 00/1", 0), "FileFault")
	m.expectFault("start behind the end", ask(&s, "*", 16*mib), "InvalidArgument")
	m.expectFault("no snapshot while running", ask(nil, "*", 0), "InvalidArgument")
	m.expectFault("unknown snapshot", ask(&types.ManagedObjectReference{Type: s.Type, Value: "snapshot-9"}, "*", 0), "ManagedObjectNotFound")
	m.key = 9
	m.expectFault("unknown disk", ask(&s, "*", 0), "InvalidArgument")
	m.key = 2000
	if err := m.server.ResetTracking(m.vm.Reference().Value); err != nil {
		t.Fatal(err)
	}
	m.expectFault("after a reset", ask(&s, id, 0), "FileFault")
	m.expectFault("* of a snapshot from before the reset", ask(&s, "*", 0), "FileFault")
	after := m.snapshot("after")
	m.expectFault("old id against a new snapshot", ask(&after, id, 0), "FileFault")
}

func TestWithoutTrackingThereAreNoChangeIDs(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	m.setTracking(false)
	s := m.snapshot("s")
	if id := m.snapshotState(s).ChangeID; id != "" {
		t.Errorf("change id %q", id)
	}
	_, err := m.query(&s, "*", 0)
	m.expectFault("no tracking", err, "FileFault")
}

func TestTrackingEnabledUnderASnapshotSleepsUntilItIsGone(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	m.setTracking(false)
	user := m.snapshot("user")
	m.setTracking(true)
	asleep := m.snapshot("asleep")
	if id := m.snapshotState(asleep).ChangeID; id != "" {
		t.Errorf("tracking is awake: %q", id)
	}
	m.remove(asleep)
	m.remove(user)
	if m.snapshotState(m.snapshot("awake")).ChangeID == "" {
		t.Error("tracking did not wake up")
	}
}

func TestAChangeIDExpiresAfterManySnapshots(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	first := m.snapshot("first")
	old := m.snapshotState(first).ChangeID
	m.remove(first)
	for range 32 {
		m.remove(m.snapshot("more"))
	}
	last := m.snapshot("last")
	_, err := m.query(&last, old, 0)
	m.expectFault("expired id", err, "FileFault")
}

func TestAGrownDiskKeepsItsChangeIDs(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	first := m.snapshot("first")
	id := m.snapshotState(first).ChangeID
	if err := m.server.ResizeDisk(m.disk(), 4*mib, false); err == nil {
		t.Error("a disk with a snapshot was resized")
	}
	m.remove(first)
	if err := m.server.ResizeDisk(m.disk(), 4*mib, false); err != nil {
		t.Fatal(err)
	}
	if err := m.server.ResizeDisk(m.disk(), 2*mib, false); err == nil {
		t.Error("a disk shrank")
	}
	m.write(3*mib, "new")
	second := m.snapshot("second")
	if got := m.snapshotState(second).CapacityBytes; got != 4*mib {
		t.Errorf("capacity %d", got)
	}
	m.expectAreas("since before growth", m.areas(second, id), [2]int64{3 * mib, block})
}

func TestAResizeMayResetTracking(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	first := m.snapshot("first")
	id := m.snapshotState(first).ChangeID
	m.remove(first)
	if err := m.server.ResizeDisk(m.disk(), 4*mib, true); err != nil {
		t.Fatal(err)
	}
	second := m.snapshot("second")
	_, err := m.query(&second, id, 0)
	m.expectFault("id from before", err, "FileFault")
}

func TestLiesHideAreas(t *testing.T) {
	m := newMachine(t, oneDisk(16*mib))
	id := m.snapshotState(m.snapshot("first")).ChangeID
	m.write(mib, "seen")
	m.write(9*mib, "beyond")
	second := m.snapshot("second")
	m.server.SetLie(lab.Lie{BeyondBytes: 8 * mib})
	m.expectAreas("with a lie", m.areas(second, id), [2]int64{mib, block})
	m.server.SetLie(lab.Lie{})
	m.expectAreas("honest again", m.areas(second, id), [2]int64{mib, block}, [2]int64{9 * mib, block})
}
