package lab

import (
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	privilegeChangeTracking = "VirtualMachine.Config.ChangeTracking"
	privilegeDiskRandomRead = "VirtualMachine.Provisioning.DiskRandomRead"
	// privilegeDiskRandomAccess is what writing through VDDK needs.
	privilegeDiskRandomAccess = "VirtualMachine.Provisioning.DiskRandomAccess"
)

// methodPrivileges says which privilege a method needs, as the vSphere API
// reference lists them. ReconfigVM_Task depends on what it changes.
var methodPrivileges = map[string]string{
	"CreateSnapshot_Task":     "VirtualMachine.State.CreateSnapshot",
	"CreateSnapshotEx_Task":   "VirtualMachine.State.CreateSnapshot",
	"RemoveSnapshot_Task":     "VirtualMachine.State.RemoveSnapshot",
	"RemoveAllSnapshots_Task": "VirtualMachine.State.RemoveSnapshot",
	"RevertToSnapshot_Task":   "VirtualMachine.State.RevertToSnapshot",
	"QueryChangedDiskAreas":   privilegeDiskRandomRead,
	"PowerOnVM_Task":          "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":         "VirtualMachine.Interact.PowerOff",
	"ExportVm":                "VApp.Export",
	"ExportSnapshot":          "VApp.Export",
	"CreateVM_Task":           "VirtualMachine.Inventory.Create",
	"Destroy_Task":            "VirtualMachine.Inventory.Delete",
}

// privilegeSet holds the privileges that the lab's user does not have.
type privilegeSet struct {
	mu  sync.Mutex
	ids []string
}

// SetMissingPrivileges replaces the list of privileges that the user lacks.
func (l *Lab) SetMissingPrivileges(ids []string) {
	l.missing.mu.Lock()
	defer l.missing.mu.Unlock()
	l.missing.ids = slices.Clone(ids)
}

func (p *privilegeSet) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.ids, id)
}

// neededFor is the missing privilege that forbids a call, or empty.
func (p *privilegeSet) neededFor(call *simulator.Method) string {
	id := methodPrivileges[call.Name]
	if reconfigure, ok := call.Body.(*types.ReconfigVM_Task); ok {
		id = reconfigurePrivilege(reconfigure.Spec)
	}
	if id != "" && p.has(id) {
		return id
	}
	return ""
}

func reconfigurePrivilege(spec types.VirtualMachineConfigSpec) string {
	switch {
	case spec.ChangeTrackingEnabled != nil:
		return privilegeChangeTracking
	case len(spec.DeviceChange) > 0:
		return "VirtualMachine.Config.AddRemoveDevice"
	default:
		return "VirtualMachine.Config.Settings"
	}
}

func (x *extension) authorization() *simulator.AuthorizationManager {
	for _, object := range x.lab.registry.AllReference("AuthorizationManager") {
		if manager, ok := object.(*simulator.AuthorizationManager); ok {
			return manager
		}
	}
	return nil
}

// HasPrivilegeOnEntityResponse is govmomi's type without its omitempty, which
// would leave each false out of the answer. The simulator names the element
// after the type.
type HasPrivilegeOnEntityResponse struct {
	Returnval []bool `xml:"returnval"`
}

type hasPrivilegeOnEntityBody struct{ Res *HasPrivilegeOnEntityResponse }

// Fault is never there.
func (b *hasPrivilegeOnEntityBody) Fault() *soap.Fault { return nil }

// HasPrivilegeOnEntity answers by the list of missing privileges.
func (x *extension) HasPrivilegeOnEntity(req *types.HasPrivilegeOnEntity) soap.HasFault {
	granted := make([]bool, len(req.PrivId))
	for i, id := range req.PrivId {
		granted[i] = !x.lab.missing.has(id)
	}
	return &hasPrivilegeOnEntityBody{Res: &HasPrivilegeOnEntityResponse{Returnval: granted}}
}

// HasPrivilegeOnEntities answers by the list of missing privileges.
func (x *extension) HasPrivilegeOnEntities(req *types.HasPrivilegeOnEntities) soap.HasFault {
	return &methods.HasPrivilegeOnEntitiesBody{
		Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: x.lab.missing.availability(req.Entity, req.PrivId)},
	}
}

// HasUserPrivilegeOnEntities answers by the list of missing privileges.
func (x *extension) HasUserPrivilegeOnEntities(req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	return &methods.HasUserPrivilegeOnEntitiesBody{
		Res: &types.HasUserPrivilegeOnEntitiesResponse{Returnval: x.lab.missing.availability(req.Entities, req.PrivId)},
	}
}

func (p *privilegeSet) availability(entities []types.ManagedObjectReference, ids []string) (out []types.EntityPrivilege) {
	for _, entity := range entities {
		answer := types.EntityPrivilege{Entity: entity}
		for _, id := range ids {
			answer.PrivAvailability = append(answer.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: !p.has(id)})
		}
		out = append(out, answer)
	}
	return out
}

// FetchUserPrivilegeOnEntities lists an administrator's privileges without the
// missing ones.
func (x *extension) FetchUserPrivilegeOnEntities(req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	answer := x.authorization().FetchUserPrivilegeOnEntities(req)
	body, ok := answer.(*methods.FetchUserPrivilegeOnEntitiesBody)
	if !ok || body.Res == nil {
		return answer
	}
	for i := range body.Res.Returnval {
		all := slices.Clone(body.Res.Returnval[i].Privileges)
		body.Res.Returnval[i].Privileges = slices.DeleteFunc(all, x.lab.missing.has)
	}
	return body
}
