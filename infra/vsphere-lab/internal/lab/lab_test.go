package lab_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

const (
	kib   = 1 << 10
	mib   = 1 << 20
	block = 64 * kib
)

var ctx = context.Background()

// rig is a lab with a client that is logged in over HTTPS, as a product is.
type rig struct {
	t      *testing.T
	server *lab.Server
	client *govmomi.Client
}

type options struct {
	inventory lab.Inventory
	maxAreas  int
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	model := simulator.VPX()
	model.Machine = 0
	server, err := lab.Start(lab.Options{
		Model: model, Dir: t.TempDir(), User: "user@lab", Password: "s3cret&", MaxAreas: o.maxAreas,
		Inventory: &o.inventory, Log: log.New(failingLog{t}, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	r := &rig{t: t, server: server}
	r.client = r.login()
	return r
}

// failingLog makes whatever the lab logs a failure: it only logs what went
// wrong inside it.
type failingLog struct{ t *testing.T }

func (l failingLog) Write(line []byte) (int, error) {
	l.t.Errorf("the lab logged: %s", line)
	return len(line), nil
}

func (r *rig) login() *govmomi.Client {
	r.t.Helper()
	client, err := r.tryLogin()
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

func (r *rig) tryLogin() (*govmomi.Client, error) {
	u, err := url.Parse(r.server.URL)
	if err != nil {
		return nil, err
	}
	u.User = url.UserPassword("user@lab", "s3cret&")
	return govmomi.NewClient(ctx, u, true)
}

// machine is one VM and its first disk.
type machine struct {
	*rig
	vm  *object.VirtualMachine
	key int32
}

func oneDisk(sizeBytes int64) options {
	return options{inventory: lab.Inventory{VMs: []lab.VMSpec{
		{Name: "vm", ChangeTracking: true, Disks: []lab.DiskSpec{{SizeBytes: sizeBytes}}},
	}}}
}

func newMachine(t *testing.T, o options) *machine {
	r := newRig(t, o)
	state := r.server.State()[0]
	ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: state.Ref}
	return &machine{r, object.NewVirtualMachine(r.client.Client, ref), state.Disks[0].Key}
}

func (m *machine) disk() lab.DiskRef { return lab.DiskRef{VM: m.vm.Reference().Value, Key: m.key} }

func (m *machine) write(offset int64, data string) {
	m.t.Helper()
	if _, err := m.server.Write(m.disk(), offset, strings.NewReader(data)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) state() lab.VMState {
	for _, state := range m.server.State() {
		if state.Ref == m.vm.Reference().Value {
			return state
		}
	}
	return lab.VMState{}
}

func (m *machine) snapshotState(ref types.ManagedObjectReference) lab.DiskState {
	m.t.Helper()
	for _, s := range m.state().Snapshots {
		if s.Ref == ref.Value {
			return s.Disks[0]
		}
	}
	m.t.Fatalf("no snapshot %s", ref.Value)
	return lab.DiskState{}
}

func (m *machine) snapshot(name string) types.ManagedObjectReference {
	m.t.Helper()
	info, err := m.trySnapshot(name)
	if err != nil {
		m.t.Fatal(err)
	}
	return info.Result.(types.ManagedObjectReference)
}

func (m *machine) trySnapshot(name string) (*types.TaskInfo, error) {
	task, err := m.vm.CreateSnapshot(ctx, name, "", false, false)
	if err != nil {
		return nil, err
	}
	return task.WaitForResult(ctx)
}

func (m *machine) remove(snapshot types.ManagedObjectReference) {
	m.t.Helper()
	answer, err := methods.RemoveSnapshot_Task(ctx, m.client, &types.RemoveSnapshot_Task{This: snapshot})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := object.NewTask(m.client.Client, answer.Returnval).Wait(ctx); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) setTracking(on bool) {
	m.t.Helper()
	task, err := m.vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(on)})
	if err == nil {
		err = task.Wait(ctx)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) query(snapshot *types.ManagedObjectReference, changeID string, start int64) (*types.DiskChangeInfo, error) {
	answer, err := methods.QueryChangedDiskAreas(ctx, m.client, &types.QueryChangedDiskAreas{
		This: m.vm.Reference(), Snapshot: snapshot, DeviceKey: m.key, StartOffset: start, ChangeId: changeID,
	})
	if err != nil {
		return nil, err
	}
	return &answer.Returnval, nil
}

// areas asks page by page, as a client must.
func (m *machine) areas(snapshot types.ManagedObjectReference, changeID string) (out [][2]int64) {
	m.t.Helper()
	capacity := m.snapshotState(snapshot).CapacityBytes
	for at := int64(0); at < capacity; {
		info, err := m.query(&snapshot, changeID, at)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, area := range info.ChangedArea {
			out = append(out, [2]int64{area.Start, area.Length})
		}
		if info.Length <= 0 {
			m.t.Fatalf("an answer of length %d does not move on", info.Length)
		}
		at = info.StartOffset + info.Length
	}
	return out
}

func (m *machine) expectAreas(what string, got [][2]int64, want ...[2]int64) {
	m.t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		m.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (m *machine) bytes(snapshot string) []byte {
	m.t.Helper()
	file, err := m.server.OpenDisk(m.disk(), snapshot)
	if err != nil {
		m.t.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}

// faultName is the type of a fault, whether the call or its task failed.
func faultName(err error) string {
	var detail any
	var inTask task.Error
	switch {
	case err == nil:
		return "none"
	case soap.IsSoapFault(err):
		detail = soap.ToSoapFault(err).VimFault()
		return reflect.TypeOf(detail).Name()
	case errors.As(err, &inTask):
		detail = inTask.Fault()
		return reflect.TypeOf(detail).Elem().Name()
	default:
		return err.Error()
	}
}

func (m *machine) expectFault(what string, err error, want string) {
	m.t.Helper()
	if got := faultName(err); got != want {
		m.t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func (m *machine) properties(paths ...string) mo.VirtualMachine {
	m.t.Helper()
	var vm mo.VirtualMachine
	if err := m.vm.Properties(ctx, m.vm.Reference(), paths, &vm); err != nil {
		m.t.Fatal(err)
	}
	return vm
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (r *rig) machineCalled(name string) *object.VirtualMachine {
	r.t.Helper()
	for _, state := range r.server.State() {
		if state.Name == name {
			ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: state.Ref}
			return object.NewVirtualMachine(r.client.Client, ref)
		}
	}
	r.t.Fatalf("no VM %s", name)
	return nil
}
