package control

import (
	"errors"
	"io"
	"time"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/vddk"
)

// The guest.

func (c *control) write(q *query, body io.Reader) (any, error) {
	ref, offset := q.disk(), q.number("offset", 0)
	if q.err != nil {
		return nil, q.err
	}
	written, err := c.lab.Write(ref, offset, body)
	return map[string]any{"written": written}, err
}

func (c *control) touch(q *query, _ io.Reader) (any, error) {
	ref, area := q.disk(), q.area()
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.Touch(ref, area)
}

func (c *control) discard(q *query, _ io.Reader) (any, error) {
	ref, area := q.disk(), q.area()
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.Discard(ref, area)
}

// The other administrator.

func (c *control) resize(q *query, _ io.Reader) (any, error) {
	ref, size := q.disk(), q.number("sizeBytes", 0)
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.ResizeDisk(ref, size, q.flag("resetTracking"))
}

func (c *control) addDisk(q *query, _ io.Reader) (any, error) {
	vm := q.required("vm")
	spec := lab.DiskSpec{SizeBytes: q.number("sizeBytes", 0), Mode: q.text("mode"), Image: q.text("image")}
	if q.err != nil {
		return nil, q.err
	}
	key, err := c.lab.AddDisk(vm, spec)
	return map[string]any{"key": key}, err
}

func (c *control) removeDisk(q *query, _ io.Reader) (any, error) {
	ref := q.disk()
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.RemoveDisk(ref)
}

func (c *control) power(q *query, _ io.Reader) (any, error) {
	vm, on := q.required("vm"), q.required("on")
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.Power(vm, on == "1")
}

func (c *control) userSnapshot(q *query, _ io.Reader) (any, error) {
	vm, name := q.required("vm"), q.required("name")
	if q.err != nil {
		return nil, q.err
	}
	ref, err := c.lab.TakeSnapshot(vm, name)
	return map[string]any{"snapshot": ref}, err
}

func (c *control) removeSnapshot(q *query, _ io.Reader) (any, error) {
	return nil, c.lab.DropSnapshot(q.required("snapshot"))
}

func (c *control) revert(q *query, _ io.Reader) (any, error) {
	return nil, c.lab.Revert(q.required("snapshot"))
}

// Bad luck with vCenter.

func (c *control) resetTracking(q *query, _ io.Reader) (any, error) {
	return nil, c.lab.ResetTracking(q.required("vm"))
}

func (c *control) lie(q *query, _ io.Reader) (any, error) {
	lie := lab.Lie{BeyondBytes: q.number("beyondBytes", 0), DuringConsolidation: q.flag("duringConsolidation")}
	if q.err == nil {
		c.lab.SetLie(lie)
	}
	return nil, nil
}

func (c *control) fault(q *query, _ io.Reader) (any, error) {
	rule := lab.FaultRule{
		Method: q.required("method"), Fault: q.required("fault"), InTask: q.flag("inTask"),
		Message: q.text("message"), Privilege: q.text("privilege"), File: q.text("file"), Object: q.text("object"),
		Count: int(q.number("count", 0)), Skip: int(q.number("skip", 0)),
	}
	if q.err != nil {
		return nil, q.err
	}
	return nil, c.lab.AddFault(rule)
}

// clearFaults ends all faults, those of vCenter and those of VDDK.
func (c *control) clearFaults(*query, io.Reader) (any, error) {
	c.lab.ClearFaults()
	c.lab.SetHTTPFault(lab.HTTPFault{})
	c.vddk.Change(func(b *vddk.Behaviour) { *b = vddk.Behaviour{FailingSector: vddk.NoFailingSector} })
	return nil, nil
}

func (c *control) missingPrivileges(q *query, _ io.Reader) (any, error) {
	c.lab.SetMissingPrivileges(q.list("ids"))
	return nil, nil
}

func (c *control) taskDelay(q *query, _ io.Reader) (any, error) {
	method, delay := q.required("method"), q.milliseconds("ms")
	if q.err == nil {
		c.lab.SetTaskDelay(method, delay)
	}
	return nil, nil
}

func (c *control) httpFault(q *query, _ io.Reader) (any, error) {
	fault := lab.HTTPFault{Status: int(q.number("status", 0)), After: q.flag("after"), Count: int(q.number("count", 1))}
	if q.err == nil {
		c.lab.SetHTTPFault(fault)
	}
	return nil, nil
}

// Bad luck with VDDK; for disks that are opened from now on.

func (c *control) vddkFail(q *query, _ io.Reader) (any, error) {
	text := q.text("text")
	c.vddk.Change(func(b *vddk.Behaviour) { b.FailText = text })
	return nil, nil
}

func (c *control) vddkLimit(q *query, _ io.Reader) (any, error) {
	limit := int(q.number("sessions", 0))
	c.vddk.Change(func(b *vddk.Behaviour) { b.SessionLimit = limit })
	return nil, nil
}

func (c *control) vddkOpenDelay(q *query, _ io.Reader) (any, error) {
	delay := q.milliseconds("ms")
	c.vddk.Change(func(b *vddk.Behaviour) { b.OpenDelay = delay })
	return nil, nil
}

func (c *control) vddkLatency(q *query, _ io.Reader) (any, error) {
	latency := time.Duration(q.number("us", 0)) * time.Microsecond
	c.vddk.Change(func(b *vddk.Behaviour) { b.ReadLatency = latency })
	return nil, nil
}

// vddkReadError takes a byte offset; -1 ends the fault.
func (c *control) vddkReadError(q *query, _ io.Reader) (any, error) {
	const sectorSize = 512
	at := q.number("offset", -1)
	if at < -1 {
		return nil, errors.New("the offset is negative")
	}
	sector := int64(vddk.NoFailingSector)
	if at >= 0 {
		sector = at / sectorSize
	}
	c.vddk.Change(func(b *vddk.Behaviour) { b.FailingSector = sector })
	return nil, nil
}

func (c *control) vddkNoExtents(q *query, _ io.Reader) (any, error) {
	on := q.flag("on")
	c.vddk.Change(func(b *vddk.Behaviour) { b.NoExtents = on })
	return nil, nil
}
