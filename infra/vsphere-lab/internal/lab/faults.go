package lab

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// FaultRule makes calls of a method, or the tasks they start, fail.
type FaultRule struct {
	Method    string // As in SOAP, "CreateSnapshot_Task"; "*" is every method.
	InTask    bool   // The call succeeds and the task ends in error.
	Fault     string // A fault type of the vSphere API, "FileFault".
	Message   string // The text for people; a usual one when empty.
	Privilege string // For NoPermission.
	File      string // For FileFault and its kind.
	Object    string // Only for calls on this managed object; empty is all.
	Count     int    // How often; 0 is for ever.
	Skip      int    // How many calls pass before.
}

var usualMessages = map[string]string{
	"ApplicationQuiesceFault": "An error occurred while quiescing the virtual machine. See the virtual machine's event log for details.",
	"FileFault":               "Error caused by file",
	"InvalidLogin":            "Cannot complete login due to an incorrect user name or password.",
	"InvalidSnapshotFormat":   "The snapshot has an invalid format.",
	"InvalidState":            "The operation is not allowed in the current state.",
	"NoPermission":            "Permission to perform this operation was denied.",
	"NotAuthenticated":        "The session is not authenticated.",
	"SnapshotFault":           "An error occurred while taking a snapshot.",
	"TaskInProgress":          "The operation cannot be allowed at the current time because the virtual machine has a task in progress.",
}

func (r FaultRule) message() string {
	if r.Message != "" {
		return r.Message
	}
	if text, ok := usualMessages[r.Fault]; ok {
		return text
	}
	return r.Fault
}

// newFault makes a fault by the name of its type and fills the fields that a
// client looks at.
func (r FaultRule) newFault(on types.ManagedObjectReference) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(r.Fault)
	if !ok {
		return nil, fmt.Errorf("no fault type %q in the vSphere API", r.Fault)
	}
	value := reflect.New(kind)
	fault, ok := value.Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is not a fault type", r.Fault)
	}
	setField(value, "PrivilegeId", r.Privilege)
	setField(value, "File", r.File)
	setField(value, "Object", &on)
	setField(value, "Obj", on)
	return fault, nil
}

func setField(value reflect.Value, name string, to any) {
	field := value.Elem().FieldByName(name)
	if field.IsValid() && field.Type() == reflect.TypeOf(to) {
		field.Set(reflect.ValueOf(to))
	}
}

// faultTable holds the rules. Its counters are exact under concurrent calls,
// which those of the simulator's own injector are not.
type faultTable struct {
	mu    sync.Mutex
	rules []*raiser
}

func newFaultTable() *faultTable { return &faultTable{} }

// AddFault adds a rule; an unknown fault type is an error.
func (l *Lab) AddFault(rule FaultRule) error {
	if _, err := rule.newFault(types.ManagedObjectReference{}); err != nil {
		return err
	}
	l.faults.mu.Lock()
	defer l.faults.mu.Unlock()
	l.faults.rules = append(l.faults.rules, &raiser{rule: rule})
	return nil
}

// ClearFaults removes all rules.
func (l *Lab) ClearFaults() {
	l.faults.mu.Lock()
	defer l.faults.mu.Unlock()
	l.faults.rules = nil
}

// match finds the rule that a call falls under and counts it.
func (t *faultTable) match(call *simulator.Method) *raiser {
	return t.find(call.Name, call.This.Value, false)
}

func (t *faultTable) find(method, object string, inTask bool) *raiser {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rules {
		if r.rule.covers(method, object, inTask) && r.due() {
			return r
		}
	}
	return nil
}

func (r FaultRule) covers(method, object string, inTask bool) bool {
	return r.InTask == inTask && (r.Method == "*" || r.Method == method) && (r.Object == "" || r.Object == object)
}

// raiser is a managed object whose only method answers with the rule's fault.
type raiser struct {
	Self         types.ManagedObjectReference
	rule         FaultRule
	seen, raised int
}

// due counts one call; the table's lock is held.
func (r *raiser) due() bool {
	if r.rule.Count > 0 && r.raised >= r.rule.Count {
		return false
	}
	r.seen++
	if r.seen <= r.rule.Skip {
		return false
	}
	r.raised++
	return true
}

// Reference makes the raiser a managed object.
func (r *raiser) Reference() types.ManagedObjectReference { return r.Self }

// take sends the call to an object that raises the fault. With a session the
// simulator looks the receiver up, so it is registered under a name of its
// own; without one it uses the object that is returned and wants a method it
// allows before login.
func (r *raiser) take(registry *simulator.Registry, ctx *simulator.Context, call *simulator.Method) mo.Reference {
	one := &raiser{rule: r.rule, Self: call.This}
	if ctx.Session == nil {
		return &beforeLogin{raiser: one}
	}
	named := &namedRaiser{
		Self:   types.ManagedObjectReference{Type: "LabRaiser", Value: fmt.Sprintf("lab-raiser-%p", one)},
		raiser: one, registry: registry,
	}
	registry.Put(named)
	call.Name, call.This = "Raise", named.Self
	return nil
}

func (r *raiser) answer() soap.HasFault {
	fault, err := r.rule.newFault(r.Self)
	if err != nil {
		fault = &types.RuntimeFault{}
	}
	return &faultBody{reason: simulator.Fault(r.rule.message(), fault)}
}

type faultBody struct{ reason *soap.Fault }

// Fault is what the simulator sends.
func (b *faultBody) Fault() *soap.Fault { return b.reason }

// namedRaiser answers one call and leaves the registry.
type namedRaiser struct {
	Self     types.ManagedObjectReference
	raiser   *raiser
	registry *simulator.Registry
}

// Reference makes it a managed object.
func (n *namedRaiser) Reference() types.ManagedObjectReference { return n.Self }

// Raise takes the body of whatever method was called.
func (n *namedRaiser) Raise(ctx *simulator.Context, _ types.AnyType) soap.HasFault {
	n.registry.Remove(ctx, n.Self)
	return n.raiser.answer()
}

// beforeLogin answers the calls that need no session.
type beforeLogin struct{ *raiser }

// Login fails.
func (b *beforeLogin) Login(*types.Login) soap.HasFault { return b.answer() }

// RetrieveServiceContent fails.
func (b *beforeLogin) RetrieveServiceContent(*types.RetrieveServiceContent) soap.HasFault {
	return b.answer()
}

// RetrievePropertiesEx fails.
func (b *beforeLogin) RetrievePropertiesEx(*types.RetrievePropertiesEx) soap.HasFault {
	return b.answer()
}
