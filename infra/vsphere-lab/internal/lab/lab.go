// Package lab adds to govmomi's vCenter simulator what a backup product needs
// and the simulator lacks: changed block tracking over real disk files,
// snapshot chains, the bytes of disks, tasks that take time, faults and
// missing privileges on demand. For tests only.
//
// Nothing in govmomi is patched. The lab hangs off the simulator in three
// places:
//
//   - as a RegisterObject handler it sees every snapshot and task come and go;
//   - Registry.Handler sees every SOAP call before it is dispatched, and may
//     send it elsewhere by rewriting the receiver;
//   - one extra managed object, extension, carries the methods that the
//     simulator does not have.
package lab

import (
	"context"
	"log"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
)

// Lab is one simulated vCenter with its disks.
type Lab struct {
	registry *simulator.Registry
	service  *simulator.Service
	log      *log.Logger
	dir      string
	maxAreas int
	faults   *faultTable
	missing  privilegeSet
	tasks    *taskControl

	// Guards the fields below, not what tracked points to: that, and the files
	// of a VM, belong to whoever holds the VM's lock. Taken after a VM's lock,
	// never before it, and never while files are read or copied.
	mu       sync.Mutex
	tracked  map[diskID]*tracking
	asleep   map[string]bool // VMs whose tracking waits for their last snapshot to go.
	lie      Lie
	hidden   map[diskID][]extent.Extent // Writes that tracking lost.
	removing map[string]int             // Snapshot removals in progress, by VM.
}

// attach hooks a lab into a simulator that has been created and not yet
// started. Files go to dir.
func attach(model *simulator.Model, dir string, maxAreas int, logger *log.Logger) *Lab {
	l := &Lab{
		registry: model.Map(), service: model.Service, log: logger, dir: dir, maxAreas: maxAreas,
		faults: newFaultTable(), tasks: newTaskControl(),
		tracked: map[diskID]*tracking{}, asleep: map[string]bool{},
		hidden: map[diskID][]extent.Extent{}, removing: map[string]int{},
	}
	ext := &extension{lab: l}
	ext.Self = types.ManagedObjectReference{Type: "LabExtension", Value: "lab-extension"}
	l.registry.AddHandler(l)
	l.registry.Put(ext)
	l.registry.Handler = func(ctx *simulator.Context, call *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		return l.dispatch(ctx, call, ext), nil
	}
	return l
}

// extension carries the methods that the simulator lacks; the receiver is
// still named in the body of the request. It embeds some managed object,
// because searches by UUID look into every object of the registry and panic
// at one that is none.
type extension struct {
	mo.ExtensionManager
	lab *Lab
}

// sideDoor carries calls of the lab itself, in process, and marks their
// contexts: faults and privileges are not for them. The mark is set here and
// not by the callers because govmomi makes contexts of its own.
type sideDoor struct{ service *simulator.Service }

type sideDoorMark struct{}

// RoundTrip makes one call.
func (d sideDoor) RoundTrip(ctx context.Context, request, response soap.HasFault) error {
	return d.service.RoundTrip(context.WithValue(ctx, sideDoorMark{}, true), request, response)
}

// client talks to the simulator through the side door.
func (l *Lab) client() (context.Context, *vim25.Client, error) {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, sideDoor{l.service})
	return ctx, client, err
}

// lockContext is a new owner of locks; sharing one would make locks void.
func (l *Lab) lockContext() *simulator.Context {
	return &simulator.Context{Map: l.registry, Context: context.Background()}
}

// dispatch sees each call before the simulator does. It returns the object
// that shall answer, or nil for the one that is called.
func (l *Lab) dispatch(ctx *simulator.Context, call *simulator.Method, ext *extension) mo.Reference {
	if ctx.Context != nil && ctx.Value(sideDoorMark{}) != nil {
		l.prepare(ctx, call)
		return nil
	}
	if raiser := l.faults.match(call); raiser != nil {
		return raiser.take(l.registry, ctx, call)
	}
	if ctx.Session == nil || l.registry.Get(call.This) == nil {
		return nil // The simulator answers NotAuthenticated or ManagedObjectNotFound.
	}
	if privilege := l.missing.neededFor(call); privilege != "" {
		rule := FaultRule{Fault: "NoPermission", Privilege: privilege}
		return (&raiser{rule: rule}).take(l.registry, ctx, call)
	}
	if extended[call.Name] {
		call.This = ext.Self
		return nil
	}
	l.prepare(ctx, call)
	return nil
}

// extended lists the methods that the extension answers in place of their
// receiver.
var extended = map[string]bool{
	"QueryChangedDiskAreas":        true,
	"ExportVm":                     true,
	"ExportSnapshot":               true,
	"HasPrivilegeOnEntity":         true,
	"HasPrivilegeOnEntities":       true,
	"HasUserPrivilegeOnEntities":   true,
	"FetchUserPrivilegeOnEntities": true,
}

// prepare does what has to happen before the simulator's own method runs.
func (l *Lab) prepare(ctx *simulator.Context, call *simulator.Method) {
	vm := l.vmBehind(call.This)
	if vm == nil {
		return
	}
	switch body := call.Body.(type) {
	case *types.ReconfigVM_Task:
		ctx.WithLock(vm, func() { l.onReconfigure(vm, body.Spec.ChangeTrackingEnabled) })
	case *types.RevertToSnapshot_Task:
		l.revertTo(ctx, vm, &body.This)
	case *types.RevertToCurrentSnapshot_Task:
		if vm.Snapshot != nil {
			l.revertTo(ctx, vm, vm.Snapshot.CurrentSnapshot)
		}
	case *types.RemoveSnapshot_Task, *types.RemoveAllSnapshots_Task:
		ctx.WithLock(vm, func() { forgetLayoutKeys(vm) })
	}
}

func (l *Lab) revertTo(ctx *simulator.Context, vm *simulator.VirtualMachine, ref *types.ManagedObjectReference) {
	if ref == nil {
		return
	}
	snapshot, ok := l.registry.Get(*ref).(*simulator.VirtualMachineSnapshot)
	if !ok {
		return
	}
	ctx.WithLock(vm, func() {
		if err := l.revert(ctx, vm, snapshot); err != nil {
			l.log.Printf("%s: %s", vm.Self.Value, err)
		}
	})
}

// vmBehind is the VM itself, or the one a snapshot belongs to.
func (l *Lab) vmBehind(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	object := l.registry.Get(ref)
	if snapshot, ok := object.(*simulator.VirtualMachineSnapshot); ok {
		object = l.registry.Get(snapshot.Vm)
	}
	vm, _ := object.(*simulator.VirtualMachine)
	return vm
}

// Reference makes the lab a handler of the registry.
func (l *Lab) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabHandler", Value: "lab"}
}

// PutObject sees snapshots and tasks begin.
func (l *Lab) PutObject(ctx *simulator.Context, object mo.Reference) {
	switch object := object.(type) {
	case *simulator.VirtualMachineSnapshot:
		l.freeze(ctx, object)
	case *simulator.Task:
		l.onTask(object)
	}
}

// UpdateObject sees tasks change their state.
func (l *Lab) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	if task, ok := object.(*mo.Task); ok {
		l.onTaskChange(ctx, task, changes)
	}
}

// RemoveObject sees snapshots go.
func (l *Lab) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	if snapshot, ok := l.registry.Get(ref).(*simulator.VirtualMachineSnapshot); ok {
		l.consolidate(ctx, snapshot)
	}
}
