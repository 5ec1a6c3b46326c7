package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

func TestEachFaultReachesTheCaller(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	for _, name := range []string{
		"NotAuthenticated", "NoPermission", "FileFault", "TaskInProgress", "InvalidState", "InvalidSnapshotFormat",
		"ApplicationQuiesceFault", "SnapshotFault", "NoDiskSpace", "HostNotConnected", "InvalidPowerState",
		"ManagedObjectNotFound", "SystemError", "RuntimeFault",
	} {
		if err := m.server.AddFault(lab.FaultRule{Method: "CreateSnapshot_Task", Fault: name, Count: 1}); err != nil {
			t.Error(err)
			continue
		}
		_, err := m.trySnapshot("s")
		m.expectFault(name, err, name)
	}
	if err := m.server.AddFault(lab.FaultRule{Method: "*", Fault: "NoSuchFault"}); err == nil {
		t.Error("an unknown fault was taken")
	}
	if err := m.server.AddFault(lab.FaultRule{Method: "*", Fault: "VirtualDisk"}); err == nil {
		t.Error("a type that is no fault was taken")
	}
}

func TestAFaultInATaskLetsTheCallPass(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	rule := lab.FaultRule{Method: "CreateSnapshot_Task", Fault: "ApplicationQuiesceFault", InTask: true, Count: 1}
	if err := m.server.AddFault(rule); err != nil {
		t.Fatal(err)
	}
	_, err := m.trySnapshot("s")
	m.expectFault("task", err, "ApplicationQuiesceFault")
	if !strings.Contains(err.Error(), "quiescing the virtual machine") {
		t.Errorf("the text is %q", err)
	}
	if len(m.state().Snapshots) != 0 {
		t.Error("the failed task left a snapshot")
	}
	m.snapshot("next")
}

func TestFaultsSkipAndCount(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	rule := lab.FaultRule{Method: "QueryChangedDiskAreas", Fault: "FileFault", Skip: 1, Count: 2}
	if err := m.server.AddFault(rule); err != nil {
		t.Fatal(err)
	}
	s := m.snapshot("s")
	for i, want := range []string{"none", "FileFault", "FileFault", "none"} {
		if _, err := m.query(&s, "*", 0); faultName(err) != want {
			t.Errorf("call %d: got %s, want %s", i, faultName(err), want)
		}
	}
}

func TestFaultsCanBeOfOneObjectAndAreCleared(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	if err := m.server.AddFault(lab.FaultRule{Method: "CreateSnapshot_Task", Fault: "FileFault", Object: "vm-0"}); err != nil {
		t.Fatal(err)
	}
	m.snapshot("of another VM")
	if err := m.server.AddFault(lab.FaultRule{Method: "*", Fault: "RuntimeFault"}); err != nil {
		t.Fatal(err)
	}
	_, err := m.trySnapshot("s")
	m.expectFault("every method", err, "RuntimeFault")
	m.server.ClearFaults()
	m.snapshot("again")
}

func TestALoginCanFail(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	if err := m.server.AddFault(lab.FaultRule{Method: "Login", Fault: "InvalidLogin", Count: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := m.tryLogin()
	m.expectFault("login", err, "InvalidLogin")
	m.login()
}

func TestTheSideDoorKnowsNoFaultsAndNoPrivileges(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	if err := m.server.AddFault(lab.FaultRule{Method: "*", Fault: "RuntimeFault"}); err != nil {
		t.Fatal(err)
	}
	m.server.SetMissingPrivileges([]string{"VirtualMachine.State.CreateSnapshot"})
	if _, err := m.server.TakeSnapshot(m.vm.Reference().Value, "user"); err != nil {
		t.Error(err)
	}
}

func TestAMissingPrivilegeForbidsItsMethodsAndIsNotListed(t *testing.T) {
	const id = "VirtualMachine.State.CreateSnapshot"
	m := newMachine(t, oneDisk(mib))
	m.server.SetMissingPrivileges([]string{id, "VirtualMachine.Config.ChangeTracking"})
	_, err := m.trySnapshot("s")
	m.expectFault("snapshot", err, "NoPermission")
	if !strings.Contains(err.Error(), "Permission to perform this operation was denied") {
		t.Errorf("the text is %q", err)
	}
	_, err = m.vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(false)})
	m.expectFault("tracking", err, "NoPermission")
	if m.hasPrivilege(id) || !m.hasPrivilege("VirtualMachine.State.RemoveSnapshot") {
		t.Error("HasPrivilegeOnEntities does not agree")
	}
	m.server.SetMissingPrivileges(nil)
	m.snapshot("s")
	if !m.hasPrivilege(id) {
		t.Error("the privilege did not come back")
	}
}

func (m *machine) hasPrivilege(id string) bool {
	m.t.Helper()
	session, err := m.client.SessionManager.UserSession(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	granted, err := object.NewAuthorizationManager(m.client.Client).
		HasPrivilegeOnEntity(ctx, m.vm.Reference(), session.Key, []string{id})
	if err != nil {
		m.t.Fatal(err)
	}
	answer, err := methods.FetchUserPrivilegeOnEntities(ctx, m.client, &types.FetchUserPrivilegeOnEntities{
		This: *m.client.ServiceContent.AuthorizationManager, UserName: "user@lab",
		Entities: []types.ManagedObjectReference{m.vm.Reference()},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	listed := false
	for _, privilege := range answer.Returnval[0].Privileges {
		listed = listed || privilege == id
	}
	if listed != granted[0] {
		m.t.Errorf("FetchUserPrivilegeOnEntities says %v, HasPrivilegeOnEntity %v", listed, granted[0])
	}
	return granted[0]
}

func TestVDDKKnowsPrivilegesLocksAndSnapshots(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	s := m.snapshot("s")
	open := lab.VDDKOpen{VM: m.vm.Reference().Value, Snapshot: s.Value, File: m.snapshotState(s).File, ReadOnly: true}
	expect := func(what string, change func(*lab.VDDKOpen), want error) {
		t.Helper()
		changed := open
		change(&changed)
		if _, _, err := m.server.OpenForVDDK(changed); err != want {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	expect("snapshot", func(*lab.VDDKOpen) {}, nil)
	expect("writable snapshot", func(o *lab.VDDKOpen) { o.ReadOnly = false }, lab.ErrReadOnly)
	expect("running VM", func(o *lab.VDDKOpen) { o.Snapshot = "" }, lab.ErrLocked)
	expect("unknown VM", func(o *lab.VDDKOpen) { o.VM = "vm-0" }, lab.ErrVMUnknown)
	expect("unknown snapshot", func(o *lab.VDDKOpen) { o.Snapshot = "snapshot-0" }, lab.ErrSnapshotUnknown)
	expect("unknown file", func(o *lab.VDDKOpen) { o.File = "[LocalDS_0] x.vmdk" }, lab.ErrFileUnknown)
	m.server.SetMissingPrivileges([]string{"VirtualMachine.Provisioning.DiskRandomRead"})
	expect("without privilege", func(*lab.VDDKOpen) {}, lab.ErrDenied)
}

func TestSessionsAreListedAndExpire(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	if got := len(m.server.Sessions()); got != 1 {
		t.Fatalf("%d sessions", got)
	}
	m.login()
	if ended := m.server.ExpireSessions(); ended != 2 {
		t.Errorf("%d sessions ended", ended)
	}
	_, err := m.trySnapshot("s")
	m.expectFault("after expiry", err, "NotAuthenticated")
	if got := len(m.server.Sessions()); got != 0 {
		t.Errorf("%d sessions are left", got)
	}
}

func TestHTTPFaultsCutOrReplaceTheAnswer(t *testing.T) {
	m := newMachine(t, oneDisk(mib))
	m.server.SetHTTPFault(lab.HTTPFault{Status: 503, Count: 1})
	if _, err := m.trySnapshot("s"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v", err)
	}
	m.server.SetHTTPFault(lab.HTTPFault{Count: 1, After: true})
	if _, err := m.trySnapshot("the answer is lost, the snapshot is not"); err == nil {
		t.Error("the answer arrived")
	}
	deadline := time.Now().Add(5 * time.Second)
	for len(m.state().Snapshots) == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(m.state().Snapshots) != 1 {
		t.Error("the call was not carried out")
	}
}
